use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::Conversation;
use super::entry::{Entry, Fault};
use super::wrapper::Wrapper;
use crate::json::{self, BYTE_ORDER_MARK, Mended};
use crate::{Error, Result};

/// The maximum length of a conversation in bytes: one that never ends is refused before it fills the memory.
pub(super) const LONGEST: usize = 1 << 26;

/// The conversations of a file, read one by one.
#[derive(Debug)]
pub(super) struct ConversationFile {
    path: PathBuf,
    reader: BufReader<File>,
    /// One array, or an object a line.
    array: bool,
    /// The array is in an object, whose end was seen.
    wrapped: bool,
    /// The line of the next character, counted from one.
    line: usize,
    /// The number of conversations read.
    index: usize,
    /// What was mended so far.
    pub mended: Mended,
}

impl ConversationFile {
    pub fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).map_err(|source| Error::io(&path, source))?;
        let mut file = Self {
            path,
            reader: BufReader::new(file),
            array: false,
            wrapped: false,
            line: 1,
            index: 0,
            mended: Mended::default(),
        };
        if file.buffer()?.starts_with(BYTE_ORDER_MARK) {
            file.reader.consume(BYTE_ORDER_MARK.len());
            file.mended.byte_order_marks = 1;
        }
        match file.skip_space()? {
            Some(b'[') => {
                file.reader.consume(1);
                file.array = true;
                Ok(file)
            }
            Some(b'{') => file.unwrap(),
            other => Err(file.unexpected("an array, or an object a line", other)),
        }
    }

    /// Goes to the array in an object, where the file is one.
    fn unwrap(mut self) -> Result<Self> {
        let io = |source| Error::io(&self.path, source);
        // What is read from a pipe cannot be read twice.
        if !self.reader.get_ref().metadata().map_err(io)?.is_file() {
            return Ok(self);
        }
        if let Some(Wrapper { array, line }) = Wrapper::find(&self.path)? {
            self.reader.seek(SeekFrom::Start(array + 1)).map_err(io)?;
            (self.array, self.wrapped, self.line) = (true, true, line);
        }
        Ok(self)
    }

    /// The next conversation; `None` at the end. After [`Error::Sample`] there may be others.
    pub fn next_conversation(&mut self) -> Result<Option<Conversation>> {
        let first = self.skip_space()?;
        if self.array && !self.next_of_array(first)? || first.is_none() {
            return Ok(None);
        }
        let begin = self.line;
        let object = if self.array { self.object()? } else { self.text_line()? };
        let entry: Entry = json::parse(&object, &mut self.mended)
            .map_err(|error| self.wrong(begin + error.line().saturating_sub(1), error.to_string()))?;
        let conversation = entry.read(self.stem(), self.index).map_err(|fault| match fault {
            Fault::Format(detail) => self.wrong(begin, detail),
            Fault::Unusable { id, detail } => {
                Error::sample(id, format!("{}: line {begin}: {detail}", self.path.display()))
            }
        });
        self.index += 1;
        conversation.map(Some)
    }

    /// Moves to the next object of the array, or past its end.
    fn next_of_array(&mut self, first: Option<u8>) -> Result<bool> {
        let first = match first {
            Some(b']') => {
                self.reader.consume(1);
                return match self.skip_space()? {
                    _ if self.wrapped => Ok(false),
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
