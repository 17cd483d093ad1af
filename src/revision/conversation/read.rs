use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{Conversation, Role, Turn};
use crate::{Error, Result};

/// The maximum length of a conversation in bytes: one that never ends is refused before it fills the memory.
pub(super) const LONGEST: usize = 1 << 26;
const EXCERPT: usize = 60;

/// Reads conversations one by one: LLaVA's JSON (one array), JSON Lines (an object a line), or a folder of such files,
/// `*.json` and `*.jsonl`, in the order of their names. The first character of a file tells the two formats apart.
///
/// A conversation without `id` gets the name of its file and its index there, `file:0`. Ids and pictures may be numbers,
/// a picture may be a list of one. Unknown keys are ignored.
///
/// # Errors
///
/// [`Error::Io`] and [`Error::Format`], here or from the iterator, with the file, the line, and the index or the id of
/// the conversation. The iterator ends after an error.
///
/// # Example
///
/// ```
/// use burn_revision::revision::read_conversations;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("chat.json");
/// std::fs::write(&path, r#"[{"id": 7, "image": "a.jpg", "conversations":
///     [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "An apple."}]}]"#)?;
/// let conversations = read_conversations(&path)?.collect::<burn_revision::Result<Vec<_>>>()?;
/// assert_eq!((conversations[0].id.as_str(), conversations[0].turns.len()), ("7", 2));
/// # Ok(())
/// # }
/// ```
pub fn read_conversations<P: AsRef<Path>>(
    path: P,
) -> Result<impl Iterator<Item = Result<Conversation>> + fmt::Debug + use<P>> {
    Conversations::open(path.as_ref())
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |source| Error::io(folder, source);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let known = path.extension().is_some_and(|extension| extension == "json" || extension == "jsonl");
        if known && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The conversations of a file or of the files of a folder.
#[derive(Debug)]
struct Conversations {
    file: Option<ConversationFile>,
    /// The next files, in reverse order.
    files: Vec<PathBuf>,
}

impl Iterator for Conversations {
    type Item = Result<Conversation>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.file.as_mut()?.next_conversation() {
                Ok(Some(conversation)) => return Some(Ok(conversation)),
                Ok(None) => match self.files.pop().map(ConversationFile::open).transpose() {
                    Ok(file) => self.file = file,
                    Err(error) => return self.fail(error),
                },
                Err(error) => return self.fail(error),
            }
        }
    }
}

impl Conversations {
    fn open(path: &Path) -> Result<Self> {
        let mut files = if path.is_dir() { files_of(path)? } else { vec![path.to_path_buf()] };
        files.reverse();
        let first =
            files.pop().ok_or_else(|| Error::format(path, "expected files *.json or *.jsonl, found none"))?;
        Ok(Self { file: Some(ConversationFile::open(first)?), files })
    }

    fn fail(&mut self, error: Error) -> Option<Result<Conversation>> {
        self.file = None;
        Some(Err(error))
    }
}

#[derive(Debug)]
struct ConversationFile {
    path: PathBuf,
    reader: BufReader<File>,
    /// One array, or an object a line.
    array: bool,
    /// The line of the next character, counted from one.
    line: usize,
    /// The number of conversations read.
    index: usize,
}

impl ConversationFile {
    fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).map_err(|source| Error::io(&path, source))?;
        let mut file = Self { path, reader: BufReader::new(file), array: false, line: 1, index: 0 };
        if file.buffer()?.starts_with(b"\xef\xbb\xbf") {
            file.reader.consume(3);
        }
        match file.skip_space()? {
            Some(b'[') => {
                file.reader.consume(1);
                file.array = true;
                Ok(file)
            }
            Some(b'{') => Ok(file),
            other => Err(file.unexpected("an array, or an object a line", other)),
        }
    }

    fn next_conversation(&mut self) -> Result<Option<Conversation>> {
        let first = self.skip_space()?;
        if self.array && !self.next_of_array(first)? || first.is_none() {
            return Ok(None);
        }
        let begin = self.line;
        let object = if self.array { self.object()? } else { self.text_line()? };
        let fail = |line: usize, detail: String| self.wrong(line, detail);
        let entry: Entry = serde_json::from_slice(&object)
            .map_err(|error| fail(begin + error.line().saturating_sub(1), error.to_string()))?;
        let conversation = entry.read(self.stem(), self.index).map_err(|detail| fail(begin, detail))?;
        self.index += 1;
        Ok(Some(conversation))
    }

    /// Moves to the next object of the array, or past its end.
    fn next_of_array(&mut self, first: Option<u8>) -> Result<bool> {
        let first = match first {
            Some(b']') => {
                self.reader.consume(1);
                return match self.skip_space()? {
                    None => Ok(false),
                    other => Err(self.unexpected("nothing after the array", other)),
                };
            }
            Some(b',') if self.index > 0 => {
                self.reader.consume(1);
                self.skip_space()?
            }
            other if self.index > 0 => return Err(self.unexpected("a comma or the end of the array", other)),
            other => other,
        };
        match first {
            Some(b'{') => Ok(true),
            other => Err(self.unexpected("a conversation, which is an object", other)),
        }
    }

    /// The text of the object that begins here. Only braces and texts matter for where it ends; whether it is JSON, the
    /// parser says.
    fn object(&mut self) -> Result<Vec<u8>> {
        let (mut object, begin) = (Vec::new(), self.line);
        let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
        loop {
            let buffer = self.buffer()?;
            if buffer.is_empty() {
                return Err(self.wrong(begin, "the file ends inside this conversation".into()));
            }
            let mut taken = 0;
            for byte in buffer {
                taken += 1;
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = quoted,
                    b'"' => quoted = !quoted,
                    b'{' if !quoted => depth += 1,
                    b'}' if !quoted => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
            self.take(taken, &mut object);
            if depth == 0 {
                return Ok(object);
            }
            self.check_length(begin, object.len())?;
        }
    }

    fn text_line(&mut self) -> Result<Vec<u8>> {
        let (mut text, begin) = (Vec::new(), self.line);
        let mut reader = (&mut self.reader).take(LONGEST as u64 + 1);
        reader.read_until(b'\n', &mut text).map_err(|source| Error::io(&self.path, source))?;
        self.line += usize::from(text.ends_with(b"\n"));
        self.check_length(begin, text.len()).map(|()| text)
    }

    fn check_length(&self, line: usize, length: usize) -> Result<()> {
        if length > LONGEST {
            return Err(self.wrong(line, format!("a conversation of more than {LONGEST} bytes")));
        }
        Ok(())
    }

    fn buffer(&mut self) -> Result<&[u8]> {
        self.reader.fill_buf().map_err(|source| Error::io(&self.path, source))
    }

    /// Moves bytes of the buffer to `out`.
    fn take(&mut self, count: usize, out: &mut Vec<u8>) {
        let bytes = &self.reader.buffer()[..count];
        self.line += bytes.iter().filter(|byte| **byte == b'\n').count();
        out.extend_from_slice(bytes);
        self.reader.consume(count);
    }

    /// The next byte that is not white space, which stays.
    fn skip_space(&mut self) -> Result<Option<u8>> {
        loop {
            let buffer = self.buffer()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let space = buffer.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
            let next = buffer.get(space).copied();
            self.take(space, &mut Vec::new());
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    fn stem(&self) -> String {
        self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn unexpected(&self, expected: &str, found: Option<u8>) -> Error {
        let found = match found {
            Some(byte) => format!("{:?}", char::from(byte)),
            None => "the end of the file".into(),
        };
        self.wrong(self.line, format!("expected {expected}, found {found}"))
    }

    fn wrong(&self, line: usize, detail: String) -> Error {
        Error::format(&self.path, format!("line {line}, conversation {}: {detail}", self.index))
    }
}

/// A conversation as in a file.
#[derive(Deserialize)]
struct Entry {
    id: Option<Value>,
    image: Option<Value>,
    conversations: Option<Value>,
}

impl Entry {
    fn read(self, stem: String, index: usize) -> Result<Conversation, String> {
        let id = match self.id {
            None => format!("{stem}:{index}"),
            Some(id) => {
                name(id).map_err(|found| format!("\"id\": expected a text or a number, found {found}"))?
            }
        };
        let (image, turns) = picture(self.image)
            .and_then(|image| Ok((image, turns(self.conversations)?)))
            .map_err(|detail| format!("id {id:?}: {detail}"))?;
        Ok(Conversation { id, image, turns })
    }
}

fn name(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(excerpt(&other)),
    }
}

fn picture(value: Option<Value>) -> Result<Option<String>, String> {
    let value = match value {
        Some(Value::Array(mut pictures)) if pictures.len() < 2 => pictures.pop(),
        Some(Value::Array(pictures)) => {
            return Err(format!(
                "\"image\": expected one picture, as one a conversation is supported, found {}",
                pictures.len()
            ));
        }
        other => other,
    };
    let fail = |found| format!("\"image\": expected a text, a number or a list of one, found {found}");
    value.map(name).transpose().map_err(fail)
}

fn turns(value: Option<Value>) -> Result<Vec<Turn>, String> {
    match value {
        Some(Value::Array(turns)) if !turns.is_empty() => turns
            .iter()
            .enumerate()
            .map(|(index, value)| turn(value).map_err(|detail| format!("turn {index}: {detail}")))
            .collect(),
        other => {
            let found = other.as_ref().map_or("nothing".into(), excerpt);
            Err(format!("\"conversations\": expected a list of turns, found {found}"))
        }
    }
}

fn turn(value: &Value) -> Result<Turn, String> {
    let found = |key: &str| value.get(key).map_or("nothing".into(), excerpt);
    let from = value.get("from").and_then(|from| Role::deserialize(from).ok()).ok_or_else(|| {
        format!("\"from\": expected human, gpt, system, user or assistant, found {}", found("from"))
    })?;
    let text = value.get("value").and_then(Value::as_str);
    let text = text.ok_or_else(|| format!("\"value\": expected a text, found {}", found("value")))?;
    Ok(Turn::new(from, text))
}

fn excerpt(value: &Value) -> String {
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(EXCERPT) {
        text.replace_range(end.., "...");
    }
    text
}
