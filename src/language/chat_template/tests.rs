use super::*;
use proptest::prelude::*;

/// Of SmolLM2-135M-Instruct: a default system turn in front.
const SMOLLM2: &str = r#"{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"#;

/// Of Qwen2.5-Instruct, what it does with messages alone.
const QWEN: &str = r#"{%- if tools %}
    {{- '<|im_start|>system\n# Tools' }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "<|im_end|>\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"#;

/// Of Meta-Llama-3-Instruct.
const LLAMA: &str = r#"{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>

'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>

' }}{% endif %}"#;

/// Of Mistral-7B-Instruct-v0.2: the question asks for the answer, and only strict turns are taken.
const MISTRAL: &str = r#"{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"#;

/// As later ones of Mistral: spaces around answers, and the system's words beside the last question.
const MISTRAL_V1: &str = r#"{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported") }}
    {%- endif %}
{%- endfor %}
"#;

/// What templates use of Jinja and Python.
const FEATURES: &str = r#"{%- set ns = namespace(seen=0, words=[]) -%}
{%- macro shout(text) -%}{{ text.strip().upper() }}{%- endmacro -%}
{% for message in messages %}
    {% if message.content.startswith('skip') %}{% continue %}{% endif %}
    {% generation %}
    {%- set ns.seen = ns.seen + 1 %}
{{ shout(message.content) }}|{{ message.content.split(' ')[-1].rstrip('\n') }}
    {% endgeneration %}
    {% for key, value in message.items() %}{{ key }}={{ value.replace('i', '!') }};{% endfor %}
    {% if loop.last %}{% break %}{% endif %}
{% endfor %}
{{ ns.seen }} {{ messages | tojson }} {{ {'a': '<&>é'} | tojson(indent=2) }} {{ [1, true, none] | tojson }}
{{ 'x' in 'xyz' }} {{ none }} {{ messages[::-1][0]['role'] }} {{ tools is none and tools is not iterable and 'a' is iterable }} {{ unknown is defined }}
{{ messages | map(attribute='role') | join(',') }} {{ "%s-%d" | format('a', 3) }}
"#;

fn user(content: &str) -> Message {
    Message::new(MessageRole::User, content)
}

fn assistant(content: &str) -> Message {
    Message::new(MessageRole::Assistant, content)
}

fn system(content: &str) -> Message {
    Message::new(MessageRole::System, content)
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, Some("<s>"), Some("</s>")).unwrap()
}

fn all() -> Vec<ChatTemplate> {
    let mut all: Vec<_> = [SMOLLM2, QWEN, LLAMA, MISTRAL, MISTRAL_V1].map(template).into();
    all.extend([ChatTemplate::chatml(), ChatTemplate::llama3()]);
    all
}

fn join(spans: &[ChatSpan]) -> String {
    spans.iter().map(|span| span.text.as_str()).collect()
}

/// Turns as every template takes them: a question, an answer, and so on.
fn turns() -> impl Strategy<Value = Vec<Message>> {
    let text = "[a-zé<>{}% \n]{0,10}";
    prop::collection::vec((text, text), 1..5).prop_map(|pairs| {
        pairs.into_iter().flat_map(|(question, answer)| [user(&question), assistant(&answer)]).collect()
    })
}

proptest! {
    #[test]
    fn exactly_the_answers_are_labelled(turns in turns()) {
        for template in all() {
            let spans = template.answers(&turns).unwrap();
            prop_assert_eq!(join(&spans), template.render(&turns, false).unwrap());
            let answers: Vec<String> = turns
                .iter()
                .filter(|turn| turn.role == MessageRole::Assistant && !turn.content.trim().is_empty())
                .map(|turn| turn.content.trim().to_string())
                .collect();
            let labelled: Vec<&str> = spans
                .iter()
                .filter(|span| span.labelled)
                .map(|span| span.text.strip_suffix(template.end().unwrap()).unwrap().trim())
                .collect();
            prop_assert_eq!(labelled, answers);
        }
    }

    #[test]
    fn a_prompt_is_what_stands_in_front_of_the_answer(turns in turns()) {
        for template in all() {
            let (answer, asked) = turns.split_last().unwrap();
            let prompt = template.prompt(asked).unwrap();
            prop_assert_eq!(join(&prompt), template.render(asked, true).unwrap());
            let spans = template.answers(&turns).unwrap();
            if answer.content.trim().is_empty() {
                continue;
            }
            prop_assert_eq!(&spans[..prompt.len()], prompt);
        }
    }
}

#[test]
fn real_templates_write_what_jinja2_writes() {
    let turns = [user(" Hi "), assistant(" Hello "), user("Bye"), assistant("Ciao\n")];
    let smollm2 = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n\
        <|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n";
    let qwen = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n\
        <|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(template(SMOLLM2).render(&[user("x")], true).unwrap(), smollm2);
    assert_eq!(template(QWEN).render(&[user("x")], true).unwrap(), qwen);
    for (source, expected) in [
        (MISTRAL, "<s>[INST]  Hi  [/INST] Hello </s>[INST] Bye [/INST]Ciao\n</s>"),
        (MISTRAL_V1, "<s>[INST]  Hi [/INST] Hello</s>[INST] Bye[/INST] Ciao</s>"),
    ] {
        assert_eq!(template(source).render(&turns, true).unwrap(), expected);
    }
    let llama = ChatTemplate::new(LLAMA, Some("<|begin_of_text|>"), Some("<|eot_id|>")).unwrap();
    for turns in [&turns[..], &turns[..3], &[system(" be kind "), user("Hi")]] {
        for prompt in [false, true] {
            assert_eq!(
                llama.render(turns, prompt).unwrap(),
                ChatTemplate::llama3().render(turns, prompt).unwrap()
            );
        }
    }
}

#[test]
fn templates_find_what_python_offers_them() {
    let text =
        template(FEATURES).render(&[system("skip me"), user("Hi "), assistant("Ciao bi\n")], false).unwrap();
    let expected = [
        "HI|",
        "role=user;content=H! ;CIAO BI|bi",
        "role=ass!stant;content=C!ao b!",
        ";2 [{\"role\": \"system\", \"content\": \"skip me\"}, {\"role\": \"user\", \"content\": \"Hi \"}, \
         {\"role\": \"assistant\", \"content\": \"Ciao bi\\n\"}] {",
        "  \"a\": \"<&>é\"",
        "} [1, true, null]",
        "True None assistant True False",
        "system,user,assistant a-3",
    ];
    assert_eq!(text, expected.join("\n"));
    let date = template("{{ strftime_now('%d %b %Y') }}").render(&[], false).unwrap();
    assert_eq!(date, "26 Jul 2024");
}

#[test]
fn the_end_of_an_answer_is_what_the_template_writes_behind_it() {
    let ends: Vec<String> = all().iter().map(|template| template.end().unwrap().to_string()).collect();
    assert_eq!(ends, ["<|im_end|>", "<|im_end|>", "<|eot_id|>", "</s>", "</s>", "<|im_end|>", "<|eot_id|>"]);
}

#[test]
fn a_default_system_turn_and_a_newline_behind_the_end_are_not_labelled() {
    let spans = template(SMOLLM2).answers(&[user("a"), assistant("b"), user("c")]).unwrap();
    assert!(spans[0].text.contains("SmolLM"));
    assert_eq!(spans[1], ChatSpan { text: "b<|im_end|>".into(), labelled: true });
    assert!(spans[2].text.starts_with('\n') && !spans[2].labelled);
    let empty = template(SMOLLM2).answers(&[user("a"), assistant(" ")]).unwrap();
    assert!(empty.iter().all(|span| !span.labelled));
}

/// What `answers` says against a template.
fn refused(source: &str, turns: &[Message]) -> String {
    template(source).answers(turns).unwrap_err().to_string()
}

#[test]
fn templates_that_would_give_wrong_labels_are_refused() {
    let (one, two) = ([user("a"), assistant("b")], [user("a"), assistant("b"), user("c"), assistant("d")]);
    let no_prompt = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}";
    let error = refused(no_prompt, &one);
    assert!(error.contains("no generation prompt") && error.contains("<assistant>"), "{error}");
    // The answer begins as the opening that should have been the prompt's.
    let error = refused(no_prompt, &[user("a"), assistant("<")]);
    assert!(error.contains("no generation prompt"), "{error}");
    let other_prompt = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}\
        {% if add_generation_prompt %}<model>{% endif %}";
    let error = refused(other_prompt, &one);
    assert!(error.contains("<model>") && error.contains("assistant>"), "{error}");
    let endless = "{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]{% else %}{{ m.content }}{% endif %}{% endfor %}";
    assert!(refused(endless, &one).contains("nothing that ends"));
    // Thoughts leave the turns that are no longer the last.
    let thinking = "{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]{% else %}\
        {{ m.content if loop.last else m.content.split('</think>')[-1] }}</s>{% endif %}{% endfor %}";
    let mut thoughtful = two.clone();
    assert!(template(thinking).answers(&thoughtful).is_ok());
    thoughtful[1].content = "<think>hm</think>b".into();
    let error = refused(thinking, &thoughtful);
    assert!(error.contains("message 1") && error.contains("later messages"), "{error}");
    // The words of the system move on to the last question.
    assert!(refused(MISTRAL_V1, &[system("s"), user("a"), assistant("b")]).contains("another text"));
    let shouting =
        "{% for m in messages %}[{{ m.content.upper() }}]{% endfor %}{{ '[' if add_generation_prompt }}";
    let error = refused(shouting, &one);
    assert!(error.contains("\"b\"") && error.contains("\"B]\""), "{error}");
}

#[test]
fn what_a_template_says_against_messages_is_passed_on() {
    let mistral = template(MISTRAL);
    for turns in [vec![user("a"), user("b")], vec![assistant("a")]] {
        let error = mistral.render(&turns, false).unwrap_err().to_string();
        assert!(error.contains("roles must alternate"), "{error}");
    }
    let error = template("\n\n{{ messages.no.such }}").render(&[], false).unwrap_err().to_string();
    assert!(error.contains("line 3"), "{error}");
}

#[test]
fn messages_are_never_read_as_jinja() {
    let text = "{{ raise_exception('x') }}{% if %}<b>&amp;\u{0}";
    for template in all() {
        assert!(template.render(&[user(text)], false).unwrap().contains(text));
    }
}

#[test]
fn broken_and_hostile_templates_are_errors() {
    let nested = format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000));
    for source in
        ["{% for m in messages %}", "{{", "{% generation %}", "{% endif %}", "{{ 1 | no_such }", &nested]
    {
        let error = ChatTemplate::new(source, None, None).unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
    }
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
    let recursive = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    for source in [endless, recursive, "{{ no_such() }}", "{% include 'other' %}", "{{ messages | no_such }}"]
    {
        assert!(template(source).render(&[], false).is_err(), "{source}");
    }
}
