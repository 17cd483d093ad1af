use super::*;
use crate::language::ChatTemplate;
use proptest::prelude::*;

const SPECIAL: [&str; 6] = [
    "<|im_start|>",
    "<|im_end|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
];

/// A template with a default system turn, spaces around answers and `<eos>` behind them; the question asks.
const OWN: &str = "{{ bos_token }}{% if messages and messages[0].role != 'system' %}Be kind.\n{% endif %}\
    {% for m in messages %}{% if m.role == 'assistant' %}{{ ' ' ~ m.content.strip() ~ ' ' ~ eos_token ~ '\n' }}\
    {% else %}{{ '[' ~ m.content.strip() ~ ']' }}{% endif %}{% endfor %}";

const TEMPLATES: [Template; 3] = [Template::Llama, Template::Chatml, Template::Chat];

fn chat_tokenizer() -> Tokenizer {
    tokenizer().with_chat(&SPECIAL, Some(OWN))
}

fn template_of(template: Template, tokenizer: &Tokenizer) -> ChatTemplate {
    template.chat_template(tokenizer).unwrap().unwrap()
}

/// What decoding leaves of a text.
fn without_special(text: &str) -> String {
    SPECIAL.iter().chain(&["<bos>", "<eos>"]).fold(text.to_string(), |text, token| text.replace(token, ""))
}

fn picture(question: &str, answer: &str) -> Conversation {
    let mut conversation = Conversation::caption("sample-5", "p", answer);
    conversation.turns[0].value = question.into();
    conversation
}

/// Conversations of several turns with their picture somewhere, or without one.
fn conversations() -> impl Strategy<Value = Conversation> {
    let text = "[a-zé ]{0,8}[a-z{%.]{1,4}";
    let turns = prop::collection::vec((text, " ?[a-z]{1,6}( [a-z]{1,6}){0,2} ?\n?"), 1..4);
    let shown = prop::option::of(("[a-z ]{0,6}", "[ \n]{0,2}[a-z]{0,6}", any::<prop::sample::Index>()));
    (turns, shown, any::<bool>()).prop_map(|(pairs, shown, system)| {
        let mut turns: Vec<Turn> = pairs
            .iter()
            .flat_map(|(question, answer)| [Turn::new(Role::Human, question), Turn::new(Role::Gpt, answer)])
            .collect();
        if let Some((before, behind, place)) = &shown {
            turns[place.index(pairs.len()) * 2].value = format!("{before}<image>{behind}");
        }
        if system {
            turns.insert(0, Turn::new(Role::System, "be brief"));
        }
        Conversation { id: "c".into(), image: shown.map(|_| "p".into()), turns }
    })
}

proptest! {
    #[test]
    fn the_labels_are_the_answers_and_nothing_else(conversation in conversations()) {
        let tokenizer = chat_tokenizer();
        for template in TEMPLATES {
            let sample = template.tokenize(&conversation, &tokenizer, usize::MAX).unwrap();
            let end = template.end(&tokenizer).unwrap();
            let answers: Vec<&str> = conversation
                .turns
                .iter()
                .filter(|turn| turn.from == Role::Gpt)
                .map(|turn| if template == Template::Chatml { turn.value.as_str() } else { turn.value.trim() })
                .collect();
            let labelled = pieces(&sample, true, end);
            prop_assert!(labelled.iter().all(|answer| answer.last() == Some(&end)));
            let trim = |text: String| match template {
                Template::Chat => text.trim().to_string(),
                _ => text,
            };
            let decoded: Vec<String> = labelled.iter().map(|answer| trim(tokenizer.decode(answer))).collect();
            prop_assert_eq!(decoded, answers);

            let messages: Vec<_> = conversation
                .turns
                .iter()
                .map(|turn| crate::language::Message::new(turn.from.into(), &turn.value))
                .collect();
            let spans = template_of(template, &tokenizer).answers(&messages).unwrap();
            let rest: String =
                spans.iter().filter(|span| !span.labelled).map(|span| span.text.as_str()).collect();
            let unlabelled: Vec<u32> = pieces(&sample, false, u32::MAX).concat();
            // White space around the picture is its own affair.
            let dense = |text: &str| text.split_whitespace().collect::<String>();
            let rest = without_special(&rest).replace(IMAGE_PLACEHOLDER, "");
            prop_assert_eq!(dense(&tokenizer.decode(&unlabelled)), dense(&rest));
        }
    }

    #[test]
    fn a_sample_begins_with_the_prompt_of_its_answer(conversation in conversations()) {
        let tokenizer = chat_tokenizer();
        for template in TEMPLATES.into_iter().chain([Template::Completion]) {
            let sample = template.tokenize(&conversation, &tokenizer, usize::MAX).unwrap();
            let mut asked = conversation.clone();
            asked.turns.pop();
            let prompt = template.prompt(&asked, &tokenizer).unwrap();
            prop_assert_eq!(prompt.num_labels(), 0);
            prop_assert_eq!(prompt.image_at, sample.image_at);
            let (front, answer) = sample.tokens.split_at(prompt.tokens.len());
            prop_assert_eq!(front, prompt.tokens);
            prop_assert!(sample.labelled[front.len()]);
            let end = template.end(&tokenizer).unwrap();
            prop_assert!(answer.contains(&end));
        }
    }

    #[test]
    fn the_picture_stands_where_the_question_says(
        before in "[a-z]{0,6}", space in "[ \n]{0,3}", behind in "[a-z]{0,6}",
    ) {
        let tokenizer = chat_tokenizer();
        let conversation = picture(&format!("{before}{space}<image>{space}{behind}"), "red");
        for template in TEMPLATES {
            let sample = template.tokenize(&conversation, &tokenizer, 500).unwrap();
            let (front, rear) = sample.tokens[..sample.prompt_len()].split_at(sample.image_at.unwrap());
            prop_assert!(tokenizer.decode(front).ends_with(&before));
            let newline = if space.contains('\n') && !behind.is_empty() { "\n" } else { "" };
            let rear = tokenizer.decode(rear);
            let expected = format!("{newline}{behind}");
            prop_assert!(rear.starts_with(&expected), "{rear:?}");
        }
    }
}

#[test]
fn chatml_is_written_piece_by_piece() {
    let tokenizer = chat_tokenizer();
    let sample = Template::Chatml.tokenize(&picture("<image>\nwhat?", "red apple"), &tokenizer, 500).unwrap();
    let pieces =
        ["<|im_start|>user\n", "\nwhat?<|im_end|>\n<|im_start|>assistant\n", "red apple<|im_end|>", "\n"];
    let [before, behind, answer, rest] = pieces.map(|piece| tokenizer.encode(piece));
    assert_eq!(sample.image_at, Some(before.len()));
    assert_eq!(sample.prompt_len(), before.len() + behind.len());
    assert_eq!(sample.num_labels(), answer.len());
    assert_eq!(sample.tokens, [before, behind, answer, rest].concat());
}

#[test]
fn ends_of_answers() {
    let tokenizer = chat_tokenizer();
    for (template, end) in
        Template::ALL.into_iter().zip(["<eos>", "<eos>", "<|eot_id|>", "<|im_end|>", "<eos>"])
    {
        assert_eq!(Some(template.end(&tokenizer).unwrap()), tokenizer.token(end));
    }
}

#[test]
fn a_template_that_the_tokenizer_does_not_go_with_is_refused() {
    let conversation = picture("<image>", "red");
    for (template, expected) in [(Template::Chat, "chat template"), (Template::Llama, "<|eot_id|>")] {
        let error = template.tokenize(&conversation, &tokenizer(), 500).unwrap_err();
        assert!(matches!(error, Error::Config { .. }) && error.to_string().contains(expected), "{error}");
    }
    for (own, expected) in [
        ("{% for m in messages %}{{ m.role ~ m.content }}<eos>{% endfor %}", "generation prompt"),
        ("{{ raise_exception('never') }}", "never"),
    ] {
        let error = Template::Chat.end(&tokenizer().with_chat(&[], Some(own))).unwrap_err().to_string();
        assert!(error.contains("`chat`") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_template_must_leave_the_placeholder_alone() {
    for own in ["{{ m.content.replace('<image>', '') }}", "{{ m.content }}<image>", "{{ m.content.upper() }}"]
    {
        let source = format!(
            "{{% for m in messages %}}{{% if m.role == 'user' %}}{own}{{% else %}}{{{{ m.content }}}}<eos>{{% endif %}}{{% endfor %}}"
        );
        let tokenizer = tokenizer().with_chat(&[], Some(&source));
        let error =
            Template::Chat.tokenize(&picture("<image> a", "red"), &tokenizer, 500).unwrap_err().to_string();
        assert!(error.contains("sample-5") && error.contains("<image>"), "{error}");
    }
}

#[test]
fn conversations_that_cannot_be_shown_are_refused_by_name() {
    let tokenizer = chat_tokenizer();
    let mut twice = picture("<image>", "red");
    twice.turns.extend([Turn::new(Role::Human, "and <image>?"), Turn::new(Role::Gpt, "green")]);
    let mut unasked = picture("<image>", "red");
    unasked.turns.remove(0);
    unasked.turns.push(Turn::new(Role::Human, "<image>"));
    let mut system = picture("what?", "red");
    system.turns.insert(0, Turn::new(Role::System, "<image>"));
    for (conversation, expected) in [
        (picture("what?", "red"), "never shown"),
        (picture("<image>", "a <image>"), "an answer holds"),
        (picture("<image><image>", "red"), "more than one"),
        (twice, "more than one"),
        (system, "a system turn holds"),
    ] {
        for template in Template::ALL {
            let error = template.tokenize(&conversation, &tokenizer, 500).unwrap_err().to_string();
            assert!(error.contains("sample-5") && error.contains(expected), "{error}");
        }
    }
    let error = Template::Chat.tokenize(&unasked, &tokenizer, 500).unwrap_err().to_string();
    assert!(error.contains("sample-5") && error.contains("message 0"), "{error}");
    let answered = Template::Chatml.prompt(&picture("<image>", "red"), &tokenizer).unwrap_err().to_string();
    assert!(answered.contains("sample-5") && answered.contains("last turn"), "{answered}");
    let silent = Template::Chatml.tokenize(&picture("<image>", " "), &tokenizer, 500).unwrap_err();
    assert!(matches!(silent, Error::NoLabel { .. }), "{silent}");
    let cut = Template::Llama.tokenize(&picture("what is on <image>", "red"), &tokenizer, 3).unwrap_err();
    assert!(matches!(cut, Error::Sample { .. }) && cut.to_string().contains('3'), "{cut}");
}

#[test]
fn names_of_templates_are_the_same_everywhere() {
    for template in Template::ALL {
        let name = template.to_string();
        assert_eq!(name.parse::<Template>().unwrap(), template);
        assert_eq!(serde_json::to_value(template).unwrap(), name);
        assert_eq!(serde_json::from_value::<Template>(name.into()).unwrap(), template);
    }
    let error = "vicuna".parse::<Template>().unwrap_err().to_string();
    assert!(error.contains("vicuna") && error.contains("plain, completion, llama, chatml, chat"), "{error}");
}

/// A conversation is one text, although its parts are encoded one by one: a tokenizer that puts a space before a text does so
/// once, and its tokens are those of the whole.
#[test]
fn a_space_before_texts_is_put_there_once() {
    let fixture =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sentencepiece/tokenizer.model");
    let source = "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ ' ' ~ m.content.strip() ~ eos_token }}\
        {% else %}{{ 'USER: ' ~ m.content ~ ' ASSISTANT:' }}{% endif %}{% endfor %}";
    let mut conversation = picture("the cat", "a red apple");
    conversation.image = None;
    conversation.turns.extend([Turn::new(Role::Human, "how many dogs?"), Turn::new(Role::Gpt, "12 birds")]);
    let messages: Vec<_> = conversation
        .turns
        .iter()
        .map(|turn| crate::language::Message::new(turn.from.into(), &turn.value))
        .collect();
    for legacy in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(&fixture, folder.path().join("tokenizer.model")).unwrap();
        let config = serde_json::json!({
            "legacy": legacy, "bos_token": "<s>", "eos_token": "</s>", "chat_template": source,
        });
        std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        let whole = template_of(Template::Chat, &tokenizer).render(&messages, false).unwrap();
        let sample = Template::Chat.tokenize(&conversation, &tokenizer, usize::MAX).unwrap();
        assert_eq!(sample.tokens, tokenizer.encode(&whole), "legacy {legacy}");
        assert_eq!(pieces(&sample, true, tokenizer.eos()).len(), 2);
    }
}
