use super::*;
use proptest::prelude::*;
use std::fs;

const TURNS: &str = r#"[{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]"#;

pub(super) fn read(name: &str, text: impl AsRef<[u8]>) -> Result<Vec<Conversation>> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), text).unwrap();
    read_conversations(folder.path().join(name))?.collect()
}

/// An entry with `fields` in front of its turns.
fn entry(fields: &str) -> String {
    format!("{{{fields} \"conversations\": {TURNS}}}")
}

/// What is said against a file; it names the file.
pub(super) fn refused(text: impl AsRef<[u8]>) -> String {
    let error = read("data.json", text).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, Error::Format { .. }) && text.contains("data.json") && text.len() < 400,
        "{text}"
    );
    text
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        samples in prop::collection::vec(("\\PC{0,8}", prop::option::of("\\PC{0,8}"), "[\\PC\n\"{}\\\\\\[\\]]{0,20}"), 0..5),
        pretty in any::<bool>(),
    ) {
        let conversations: Vec<Conversation> = samples
            .into_iter()
            .map(|(id, image, text)| Conversation { image, ..Conversation::text(id, text) })
            .collect();
        let array = match pretty {
            true => serde_json::to_string_pretty(&conversations).unwrap(),
            false => serde_json::to_string(&conversations).unwrap(),
        };
        prop_assert_eq!(&read("a.json", &array).unwrap(), &conversations);
        // Another extension and a byte-order mark change nothing.
        prop_assert_eq!(&read("a.txt", format!("\u{feff} {array}\n\n")).unwrap(), &conversations);
        prop_assume!(!conversations.is_empty());
        let lines: Vec<String> = conversations.iter().map(|sample| serde_json::to_string(sample).unwrap()).collect();
        prop_assert_eq!(&read("a.jsonl", lines.join("\n")).unwrap(), &conversations);
        prop_assert_eq!(&read("a.jsonl", format!("\n{}\r\n\n", lines.join("\r\n\n"))).unwrap(), &conversations);
    }

    #[test]
    fn damaged_files_are_errors_and_never_more(cut in 0usize..400, at in 0usize..400, byte in any::<u8>()) {
        let whole = format!("[{},\n{}]", entry(r#""id": 1, "image": ["x"], "#), entry(""));
        let mut bytes = whole.into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = read("data.json", &bytes);
        bytes.truncate(cut % bytes.len());
        let error = read("data.json", &bytes).unwrap_err().to_string();
        prop_assert!(error.contains("data.json") && error.contains("line"), "{error}");
    }
}

#[test]
fn ids_and_pictures_may_be_numbers_and_ids_may_be_missing() {
    let fields = [
        r#""id": 3, "image": 17,"#,
        r#""extra": {"a": [1]}, "image": ["x.jpg"],"#,
        r#""id": null, "image": null,"#,
        r#""image": [],"#,
    ];
    let found = read("chat.data.json", format!("[{}]", fields.map(entry).join(","))).unwrap();
    let ids: Vec<&str> = found.iter().map(|sample| sample.id.as_str()).collect();
    assert_eq!(ids, ["3", "chat.data:1", "chat.data:2", "chat.data:3"]);
    let images: Vec<Option<&str>> = found.iter().map(|sample| sample.image.as_deref()).collect();
    assert_eq!(images, [Some("17"), Some("x.jpg"), None, None]);
    assert!(read("none.json", "[]").unwrap().is_empty());
}

#[test]
fn a_folder_is_read_in_the_order_of_names() {
    let folder = tempfile::tempdir().unwrap();
    let error = read_conversations(folder.path()).unwrap_err().to_string();
    assert!(error.contains("*.jsonl"), "{error}");
    let texts = [
        ("b.jsonl", entry("")),
        ("a.json", format!("[{}]", entry(""))),
        ("c.json", "[]".into()),
        ("notes.txt", "x".into()),
    ];
    for (name, text) in &texts {
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::create_dir(folder.path().join("d.json")).unwrap();
    let ids: Vec<String> =
        read_conversations(folder.path()).unwrap().map(|sample| sample.unwrap().id).collect();
    assert_eq!(ids, ["a:0", "b:0"]);
    // A bad file in between is named, and nothing is read after it.
    fs::write(folder.path().join("aa.json"), "?").unwrap();
    let mut found = read_conversations(folder.path()).unwrap();
    assert!(found.next().unwrap().is_ok());
    assert!(found.next().unwrap().unwrap_err().to_string().contains("aa.json"));
    assert!(found.next().is_none());
    let missing = read_conversations(folder.path().join("missing")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
}

#[test]
fn errors_name_the_line_the_id_and_what_was_found() {
    let second = |fields: &str| format!("[{},\n{}]", entry("\"id\": \"one\","), entry(fields));
    for (text, expected) in [
        (second(r#""id": "two", "image": {"a": 1},"#), vec!["\"two\"", "\"image\"", "{\"a\":1}"]),
        (second(r#""id": [2],"#), vec!["line 2", "conversation 1", "\"id\"", "[2]"]),
        (second("\"id\":\n\"two\"\n\"image\""), vec!["line 4", "conversation 1"]),
        (r#"[{"id": "x", "conversations": []}]"#.into(), vec!["\"x\"", "\"conversations\"", "[]"]),
        (r#"{"id": "x"}"#.into(), vec!["\"x\"", "\"conversations\"", "nothing"]),
        (r#"{"id": "x", "conversations": "hi"}"#.into(), vec!["\"x\"", "\"conversations\"", "\"hi\""]),
        (
            r#"{"conversations": [{"from": 3, "value": "a"}]}"#.into(),
            vec!["data:0", "turn 0", "human", "found 3"],
        ),
        (r#"{"conversations": [{"from": "gpt"}]}"#.into(), vec!["turn 0", "\"value\"", "nothing"]),
        (r#"{"conversations": [["gpt", "a"]]}"#.into(), vec!["turn 0", "\"from\"", "nothing"]),
        (format!("{}\n{{\"id\":}}", entry("")), vec!["line 2", "conversation 1"]),
        (format!("{} {}", entry(""), entry("")), vec!["line 1", "trailing"]),
        (format!("[{}]\n]", entry("")), vec!["line 2", "after the array", "']'"]),
        (format!("[{}\n{}]", entry(""), entry("")), vec!["line 2", "comma", "'{'"]),
        (format!("[{},]", entry("")), vec!["an object", "']'"]),
        (format!("[,{}]", entry("")), vec!["an object", "','"]),
        ("[[]]".into(), vec!["an object", "'['"]),
    ] {
        let error = refused(&text);
        assert!(expected.iter().all(|part| error.contains(part)), "{text}: {error}");
    }
}

#[test]
fn hostile_files_are_errors() {
    for (text, expected) in [
        (String::new(), "end of the file"),
        (" \n\t".into(), "line 2"),
        ("\u{feff}".into(), "end of the file"),
        ("3".into(), "'3'"),
        ("[".into(), "end of the file"),
        (format!("[{}", entry("")), "end of the file"),
        (format!("[{},", entry("")), "end of the file"),
        ("[\n{\"id\": \"}".into(), "ends inside"),
        ("{\"id\": \"".into(), "line 1"),
        ("[".repeat(1 << 20), "an object"),
        (format!("[{}", "{\"id\":".repeat(1 << 20)), "ends inside"),
        (format!("[{{\"id\":{}{}}}]", "[".repeat(100_000), "]".repeat(100_000)), "recursion"),
        (format!("{{\"id\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)), "recursion"),
        (entry(r#""id": 1, "id": 2,"#), "duplicate"),
        (entry(&format!("\"id\": [\"{}\"],", "x".repeat(10_000))), "xxx..."),
    ] {
        let error = refused(&text);
        assert!(error.contains(expected), "{error}");
    }
    assert!(refused(b"{\"id\": \"\xff\"}").contains("line 1"));
    // Keys that are not known are passed over, however deep they are.
    let deep = format!("\"extra\": {}{},", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(read("data.json", entry(&deep)).unwrap().len(), 1);
}

#[test]
fn a_conversation_without_end_is_refused_before_it_fills_the_memory() {
    let mut text = b"[{\"id\": \"".to_vec();
    text.resize(file::LONGEST + 100_000, b'x');
    assert!(refused(&text).contains("more than"));
    assert!(refused(&text[1..]).contains("more than"));
}
