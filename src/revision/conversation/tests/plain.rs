use super::*;
use proptest::prelude::*;

fn tokenize(conversation: &Conversation) -> Result<Sample> {
    Template::Plain.tokenize(conversation, &tokenizer(), 100)
}

proptest! {
    #[test]
    fn the_labels_are_the_answers(answers in prop::collection::vec("[a-z]{1,8}( [a-z]{1,8}){0,2}", 1..4)) {
        let tokenizer = tokenizer();
        let turns = answers
            .iter()
            .flat_map(|answer| [Turn::new(Role::Human, "what is it?"), Turn::new(Role::Gpt, answer)]);
        let conversation = Conversation { id: "c".into(), image: None, turns: turns.collect() };
        let sample = Template::Completion.tokenize(&conversation, &tokenizer, 200).unwrap();
        let pieces = pieces(&sample, true, tokenizer.eos());
        let decoded: Vec<String> = pieces.iter().map(|answer| tokenizer.decode(answer)).collect();
        prop_assert_eq!(decoded, answers);
    }

    #[test]
    fn cutting_keeps_the_left_end(max_len in 0usize..40) {
        let mut conversation = Conversation::caption("c", "p", "red apple and green pear");
        conversation.turns[0].value = "what is on <image>?".into();
        let whole = Template::Completion.tokenize(&conversation, &tokenizer(), 1000).unwrap();
        let at = whole.image_at.unwrap();
        match Template::Completion.tokenize(&conversation, &tokenizer(), max_len) {
            Ok(cut) => {
                prop_assert_eq!(cut.tokens.len() + cut.truncated, whole.tokens.len());
                prop_assert_eq!(&cut.tokens, &whole.tokens[..cut.tokens.len()]);
                prop_assert_eq!(&cut.labelled, &whole.labelled[..cut.tokens.len()]);
                prop_assert_eq!((cut.tokens.len(), cut.image_at), (max_len.min(whole.tokens.len()), Some(at)));
            }
            Err(Error::NoLabel { .. }) => prop_assert!((at..=whole.prompt_len()).contains(&max_len)),
            Err(error) => {
                prop_assert!(max_len < at);
                let numbers = [max_len, at].map(|number| number.to_string());
                prop_assert!(numbers.iter().all(|number| error.to_string().contains(number)), "{error}");
            }
        }
    }
}

#[test]
fn a_picture_stands_behind_the_beginning_of_text() {
    let sample = tokenize(&Conversation::caption("c", "p", "red apple")).unwrap();
    assert_eq!((sample.image_at, sample.prompt_len()), (Some(1), 1));
    assert_eq!(sample.tokens.last(), Some(&tokenizer().eos()));
}

#[test]
fn without_a_token_for_the_beginning_of_text_the_first_word_is_no_label() {
    let mut inner = tokenizers::Tokenizer::new(tokenizers::models::bpe::BPE::default());
    inner.add_special_tokens(&["<eos>", "a", "b"].map(|token| tokenizers::AddedToken::from(token, true)));
    let tokenizer = Tokenizer::from_parts(inner, None, 0, None).unwrap();
    let text = Template::Plain.tokenize(&Conversation::text("c", "ab"), &tokenizer, 9).unwrap();
    assert_eq!((text.tokens, text.labelled), (vec![1, 2, 0], vec![false, true, true]));
    let picture = Template::Plain.tokenize(&Conversation::caption("c", "p", "ab"), &tokenizer, 9).unwrap();
    assert_eq!((picture.labelled, picture.image_at), (vec![true; 3], Some(0)));
}

#[test]
fn a_completion_keeps_what_the_human_says_around_the_picture() {
    let mut conversation = Conversation::caption("c", "p", "red apple");
    conversation.turns[0].value = "what <image> is it?".into();
    let sample = Template::Completion.tokenize(&conversation, &tokenizer(), 100).unwrap();
    let at = sample.image_at.unwrap();
    assert_eq!(tokenizer().decode(&sample.tokens[..at]), "what");
    assert_eq!(tokenizer().decode(&sample.tokens[at..sample.prompt_len()]), "is it?");
    conversation.turns.insert(0, Turn::new(Role::Human, "look"));
    assert!(tokenize(&conversation).unwrap_err().to_string().contains("completion"));
}

#[test]
fn a_system_turn_is_text_where_the_template_has_a_place_for_it() {
    let mut conversation = Conversation::caption("sample-3", "p", "red apple");
    conversation.turns.insert(0, Turn::new(Role::System, "be kind"));
    let sample = Template::Completion.tokenize(&conversation, &tokenizer(), 100).unwrap();
    assert_eq!(tokenizer().decode(&sample.tokens[..sample.prompt_len()]), "be kind");
    let error = tokenize(&conversation).unwrap_err().to_string();
    assert!(error.contains("sample-3") && error.contains("system"), "{error}");
}

#[test]
fn pictures_are_never_ignored() {
    let mut conversation = Conversation::caption("sample-7", "p", "red apple");
    conversation.turns[0].value = "what is it?".into();
    assert!(tokenize(&conversation).unwrap_err().to_string().contains("sample-7"));
    conversation.turns[0].value = "<image> and <image>".into();
    assert!(tokenize(&conversation).is_err());
    conversation = Conversation::caption("c", "p", "red apple");
    conversation.image = None;
    assert!(tokenize(&conversation).is_err());
}

#[test]
fn captions_without_a_label_are_refused_by_name() {
    for caption in ["", "   "] {
        let error = tokenize(&Conversation::caption("sample-9", "p", caption)).unwrap_err();
        assert!(matches!(&error, Error::NoLabel { id, .. } if id == "sample-9"), "{error}");
    }
    let cut = Template::Plain.tokenize(&Conversation::caption("c", "p", "red apple"), &tokenizer(), 1);
    assert!(matches!(cut.unwrap_err(), Error::NoLabel { .. }));
}

#[test]
fn llava_json_is_read_as_it_is() {
    let json = r#"{"id": "1", "image": "a.jpg", "conversations":
        [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "red apple"}]}"#;
    let conversation: Conversation = serde_json::from_str(json).unwrap();
    assert_eq!(conversation.turns[1], Turn::new(Role::Gpt, "red apple"));
    let names = r#"["system", "human", "user", "gpt", "assistant"]"#;
    let roles: Vec<Role> = serde_json::from_str(names).unwrap();
    assert_eq!(roles, [Role::System, Role::Human, Role::Human, Role::Gpt, Role::Gpt]);
    assert_eq!(serde_json::to_string(&roles).unwrap(), r#"["system","human","human","gpt","gpt"]"#);
}
