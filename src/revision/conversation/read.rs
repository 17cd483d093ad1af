use std::fs;
use std::path::{Path, PathBuf};

use super::Conversation;
use super::file::ConversationFile;
use crate::json::Mended;
use crate::{Error, Result};

/// Reads conversations one by one: JSON (one array, or an object with one array in it, such as `{"data": [...]}`), JSON
/// Lines (an object a line), or a folder of such files, `*.json` and `*.jsonl`, in the order of their names. The first
/// characters of a file tell the formats apart.
///
/// | keys of a conversation | from |
/// |---|---|
/// | `conversations` of `from`, `value`; `image` | LLaVA, Bunny, InternVL |
/// | `messages` of `role`, `content`; `images` | chat APIs, TRL, LLaMA-Factory |
/// | `id`, `caption` | the ReVision authors: the embedding has the same `id` |
///
/// `content` is a text, or a list of parts of the types `text` and `image`; a part `image` stands for `<image>`, and may
/// name its picture itself. The names of keys and speakers may also be mixed. A conversation without `id` gets the name of
/// its file and its index there, `file:0`. Ids and pictures may be numbers. Unknown keys are ignored.
///
/// A byte order mark, halves of surrogate pairs and Python's `NaN` and `Infinity` are read, and counted by
/// [`mended`](Conversations::mended).
///
/// # Errors
///
/// [`Error::Io`] and [`Error::Format`], here or from the iterator, with the file, the line, and the index or the id of
/// the conversation; the iterator ends after these. [`Error::Sample`] for a conversation that is well-formed and cannot be
/// used, as it has several pictures or turns of tools; the iterator goes on after it.
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
pub fn read_conversations(path: impl AsRef<Path>) -> Result<Conversations> {
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

/// The conversations of a file or of the files of a folder, from [`read_conversations`].
#[derive(Debug)]
pub struct Conversations {
    file: Option<ConversationFile>,
    /// The next files, in reverse order.
    files: Vec<PathBuf>,
    /// What was mended in the files before.
    mended: Mended,
}

impl Iterator for Conversations {
    type Item = Result<Conversation>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.file.as_mut()?.next_conversation() {
                Ok(Some(conversation)) => return Some(Ok(conversation)),
                Ok(None) => {
                    self.close();
                    match self.files.pop().map(ConversationFile::open).transpose() {
                        Ok(file) => self.file = file,
                        Err(error) => return self.fail(error),
                    }
                }
                // One conversation, which a data set may leave out.
                Err(error @ Error::Sample { .. }) => return Some(Err(error)),
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
        Ok(Self { file: Some(ConversationFile::open(first)?), files, mended: Mended::default() })
    }

    /// What JSON does not allow and was read nevertheless, in the conversations so far.
    pub fn mended(&self) -> Mended {
        let mut mended = self.mended;
        mended += self.file.as_ref().map_or(Mended::default(), |file| file.mended);
        mended
    }

    fn close(&mut self) {
        self.mended = self.mended();
        self.file = None;
    }

    fn fail(&mut self, error: Error) -> Option<Result<Conversation>> {
        self.close();
        Some(Err(error))
    }
}
