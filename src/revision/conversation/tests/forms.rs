//! The forms in which other tools keep conversations. The files come from `tests/reference/make_conversation_fixtures.py`.

use super::reading::{read, refused};
use super::*;
use crate::revision::{BadSamples, ConversationDataset};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conversations").join(name)
}

fn conversations(name: &str) -> Vec<Conversation> {
    read_conversations(fixture(name)).unwrap().collect::<Result<_>>().unwrap()
}

/// The ones of `llava.json`.
fn expected() -> Vec<Conversation> {
    let turn = Turn::new;
    vec![
        Conversation {
            id: "1".into(),
            image: Some("coco/000123.jpg".into()),
            turns: vec![
                turn(Role::Human, "<image>\nWhat is it?"),
                turn(Role::Gpt, "A \"grüner\" apple {and} more."),
                turn(Role::Human, "Sure?"),
                turn(Role::Gpt, "Yes."),
            ],
        },
        Conversation {
            id: "2".into(),
            image: None,
            turns: vec![turn(Role::System, "Be brief."), turn(Role::Human, "Hello"), turn(Role::Gpt, "Hi.")],
        },
    ]
}

#[test]
fn every_form_says_the_same() {
    for name in ["llava.json", "wrapped.json", "messages.jsonl", "parts.jsonl"] {
        assert_eq!(conversations(name), expected(), "{name}");
    }
}

#[test]
fn a_caption_is_about_the_embedding_of_its_own_id() {
    let expected = [("cc3m_7", "A red apple."), ("8", "Zwei Hunde.")]
        .map(|(id, caption)| Conversation::caption(id, id, caption));
    assert_eq!(conversations("captions.json"), expected);
    let lines = "{\"caption\": \"a\", \"id\": 1}\n{\"id\": 2, \"image\": \"x\", \"caption\": \"b\"}";
    let images: Vec<_> = read("data.jsonl", lines).unwrap().into_iter().map(|found| found.image).collect();
    assert_eq!(images, [Some("1".into()), Some("x".into())]);
    let error = refused(r#"[{"caption": "a"}]"#);
    assert!(error.contains("data:0") && error.contains("\"id\"") && error.contains("neither"), "{error}");
    let error = refused(r#"[{"id": "x", "caption": ["a"]}]"#);
    assert!(error.contains("\"x\"") && error.contains("[\"a\"]"), "{error}");
}

#[test]
fn what_has_no_use_is_left_out_and_counted() {
    let unusable = ["called", "tool", "function", "observation", "several", "video"];
    let whats = ["tool_calls", "\"tool\"", "\"function\"", "\"observation\"", "found 2", "\"video\""];
    let found: Vec<_> = read_conversations(fixture("unusable.jsonl")).unwrap().collect();
    let errors: Vec<String> =
        found.iter().filter_map(|found| found.as_ref().err().map(ToString::to_string)).collect();
    assert_eq!((found.len(), errors.len()), (8, 6));
    for ((error, id), what) in errors.iter().zip(unusable).zip(whats) {
        let parts = [&format!("sample {id:?}"), "unusable.jsonl: line ", what];
        assert!(parts.iter().all(|part| error.contains(*part)), "{error}");
    }
    let collect = |bad| {
        let usable = found.iter().map(|found| match found {
            // Without its picture, which has no embedding here.
            Ok(found) => Ok(Conversation::text(&found.id, "red apple")),
            Err(Error::Sample { id, detail }) => Err(Error::sample(id, detail)),
            Err(other) => panic!("{other}"),
        });
        ConversationDataset::collect(usable, Template::Plain, &tokenizer(), 64, None, bad)
    };
    let (dataset, report) = collect(BadSamples::Drop).unwrap();
    assert_eq!((dataset.len(), report.read, report.kept), (2, 8, 2));
    let said = report.to_string();
    assert!(said.contains("6 dropped (unusable), such as sample \"called\""), "{said}");
    let error = collect(BadSamples::Error).unwrap_err();
    assert!(matches!(&error, Error::Sample { id, .. } if id == "called"), "{error}");
}

#[test]
fn what_json_does_not_allow_is_mended_and_counted() {
    let mut found = read_conversations(fixture("lenient.jsonl")).unwrap();
    let conversations: Vec<_> = found.by_ref().map(Result::unwrap).collect();
    let expected = [("cut", "A smile \u{fffd}"), ("whole", "A smile \u{1f600}")];
    assert_eq!(conversations, expected.map(|(id, caption)| Conversation::caption(id, id, caption)));
    let mended = found.mended();
    assert_eq!((mended.byte_order_marks, mended.surrogates, mended.not_numbers), (1, 1, 3));
    assert_eq!(found.next().map(Result::unwrap), None);
    assert_eq!(found.mended(), mended);

    let texts = conversations.into_iter().map(|found| Ok(Conversation { image: None, ..found }));
    let texts = texts.map(|found: Result<_>| found.map(|found| Conversation::text(found.id, "red apple")));
    let (_, mut report) =
        ConversationDataset::collect(texts, Template::Plain, &tokenizer(), 64, None, BadSamples::Error)
            .unwrap();
    assert!(!report.to_string().contains("mended"), "{report}");
    report.mended = mended;
    assert!(report.to_string().contains("mended: 1 byte order marks"), "{report}");
    assert_eq!(serde_json::to_value(&report).unwrap()["mended"]["surrogates"], 1);

    // Arrays as well, and the rest of what is no JSON is none.
    let array = r#"[{"id": 1, "caption": "\ud83d"}, {"id": 2, "score": NaN, "caption": "b"}]"#;
    assert_eq!(read("data.json", array).unwrap()[0].turns[1].value, "\u{fffd}");
    let error = refused("[{\"id\": 1, \"caption\": nan}]");
    assert!(error.contains("line 1, conversation 0"), "{error}");
}

#[test]
fn a_picture_that_is_named_twice_is_one() {
    let entry = |fields: &str, content: &str| {
        format!(r#"{{{fields} "messages": [{{"role": "user", "content": {content}}}]}}"#)
    };
    let part = r#"[{"type": "text", "text": "See "}, {"type": "image", "path": "a.jpg"}]"#;
    for fields in
        ["", r#""image": "a.jpg","#, r#""images": ["a.jpg"],"#, r#""image": null, "images": "a.jpg","#]
    {
        let found = &read("data.jsonl", entry(fields, part)).unwrap()[0];
        assert_eq!(found.image.as_deref(), Some("a.jpg"), "{fields}");
        assert_eq!(found.turns[0].value, "See <image>");
    }
    let error = refused(entry(r#""image": "b.jpg","#, part));
    assert!(error.contains("a.jpg") && error.contains("b.jpg"), "{error}");
    // One that names none is that of the conversation.
    let found = &read("data.jsonl", entry(r#""images": [3],"#, r#"[{"type": "image"}]"#)).unwrap()[0];
    assert_eq!((found.image.as_deref(), found.turns[0].value.as_str()), (Some("3"), "<image>"));
}

#[test]
fn parts_that_are_none_are_named() {
    for (content, expected) in [
        (r#"[{"text": "a"}]"#, vec!["turn 0", "content", "part 0", "\"type\"", "nothing"]),
        (r#"[{"type": "text", "text": "a"}, {"type": "text"}]"#, vec!["part 1", "\"text\"", "nothing"]),
        (r#"[{"type": "image", "image": {"bytes": 1}}]"#, vec!["part 0", "\"image\"", "{\"bytes\":1}"]),
        (r#"["a"]"#, vec!["part 0", "nothing"]),
        ("null", vec!["turn 0", "\"content\"", "null"]),
        ("3", vec!["turn 0", "list of parts", "found 3"]),
    ] {
        let error =
            refused(format!(r#"{{"id": "x", "messages": [{{"role": "user", "content": {content}}}]}}"#));
        assert!(
            expected.iter().all(|part| error.contains(part)) && error.contains("\"x\""),
            "{content}: {error}"
        );
    }
    let error = refused(r#"{"messages": [], "conversations": []}"#);
    assert!(error.contains("found both"), "{error}");
}

#[test]
fn the_array_in_an_object_is_found_and_nothing_else_is_one() {
    let text = r#"{"conversations": [{"from": "gpt", "value": "b"}]}"#;
    let count = |file: &str| read("data.json", file).unwrap().len();
    for (before, after) in [
        ("", ""),
        (r#""version": "1 [", "nested": {"data": [1, {"conversations": []}]}, "#, r#", "n": -1.5e3"#),
        (r#""messages ": 3, "a\"[": null, "#, r#", "last": {"x": []}"#),
    ] {
        for list in [vec![], vec![text], vec![text; 3]] {
            let file = format!("\n{{{before}\"data\" : [{}]{after}}}\n ", list.join(",\n"));
            assert_eq!(count(&file), list.len(), "{file}");
        }
    }
    // Lines of conversations, whatever comes first in them, are no wrapper.
    let line = format!(r#"{{"tags": ["a"], "id": 1, {}"#, &text[1..]);
    assert_eq!(count(&line), 1);
    assert_eq!(count(&format!("{line}\n{line}\n")), 2);

    for line in [r#"{"id": ["a"]}"#, r#"{"id": 1, "images": ["a.jpg"]}"#] {
        let error = refused(line);
        assert!(error.contains("line 1, conversation 0: "), "{error}");
    }

    let error = refused(r#"{"categories": [], "train": [{}], "valid": []}"#);
    assert!(error.contains("found 3: \"categories\", \"train\", \"valid\""), "{error}");
    let many: Vec<String> = (0..9).map(|i| format!("\"{i}\": []")).collect();
    let error = refused(format!("{{{}}}", many.join(",")));
    assert!(error.contains("found 9: \"0\", \"1\", \"2\", \"3\", ..."), "{error}");
    // Errors in the array name the line in the file.
    let error = refused(format!("{{\n\"data\": [\n{text},\n3]}}"));
    assert!(error.contains("line 4") && error.contains("'3'"), "{error}");
    for cut in [
        format!("{{\"data\": [{text}"),
        format!("{{\"data\": [{text}]"),
        format!("{{\"data\": [{text}]}}\n{{}}"),
    ] {
        refused(&cut);
    }
}
