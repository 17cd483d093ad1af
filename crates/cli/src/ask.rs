use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::OutputOptions;
use super::ask_args::{AskCommand, AssistantOptions};
use super::outcome::Outcome;
use super::progress::interrupted;
use burn_revision::device::from_environment;
use burn_revision::encoder::{BadPictures, Item, MAX_PIXELS, PictureList, PicturePlace, decode_picture};
use burn_revision::language::{FinishReason, GenerationConfig};
use burn_revision::revision::{Assistant, Role, SavedReVision, Turn};
use burn_revision::training::keep_freed_memory;
use burn_revision::{Error, Result};

/// `ask`: answers about pictures.
pub fn ask(command: &AskCommand, output: &OutputOptions) -> Result<Outcome> {
    keep_freed_memory();
    // Pictures before the model: a misspelt path is found at once.
    let (places, question) = words(command)?;
    let pictures = PictureList::find(&places, None, None)?;
    let count = pictures.items().len();
    if command.interactive && count != 1 {
        let detail = format!("a conversation is about one picture, found {count}");
        return Err(Error::config("interactive", detail));
    }
    let writing = command.answer.config()?;
    let assistant = open(&command.model)?;
    let session = Session { command, output, assistant: &assistant, pictures: &pictures };
    let written = match command.interactive {
        true => session.converse(&pictures.items()[0], question, &writing),
        false => session.answer_all(question.as_deref(), &writing),
    };
    match written {
        Err(Stop::Reader) => Ok(Outcome::default()),
        Err(Stop::Error(error)) => Err(error),
        Ok(()) => Ok(Outcome::default()),
    }
}

/// A model that sees, after what is worth knowing about it.
pub fn open(options: &AssistantOptions) -> Result<Assistant> {
    let device = from_environment()?;
    let saved = SavedReVision::load_for_inference(&options.model, options.weights.storage(), &device)?;
    Assistant::new(saved, options.encoder.as_deref(), &device).map_err(|error| match error {
        Error::Config { key, detail } if key == "encoder" => {
            Error::config(key, format!("{detail} (--encoder DIR)"))
        }
        other => other,
    })
}

/// The pictures among the words of the command, and the question.
fn words(command: &AskCommand) -> Result<(Vec<PathBuf>, Option<String>)> {
    let mut places = command.words.clone();
    let mut question = command.question.clone();
    if question.is_none()
        && let Some(last) = places.last().filter(|last| !is_there(last))
    {
        let text = last.to_string_lossy().into_owned();
        if looks_like_a_path(last) {
            return Err(Error::io(last, std::io::Error::from(std::io::ErrorKind::NotFound)));
        }
        if places.len() == 1 {
            let detail =
                format!("{text:?} is no file, folder or pattern: name a picture in front of the question");
            return Err(Error::config("picture", detail));
        }
        question = Some(text);
        places.pop();
    }
    match places.iter().find(|place| !is_there(place)) {
        Some(place) => Err(Error::io(place, std::io::Error::from(std::io::ErrorKind::NotFound))),
        None => Ok((places, question)),
    }
}

/// Whether a word is a file or a folder, or a pattern that finds some.
fn is_there(place: &Path) -> bool {
    let found = || glob::glob(&place.to_string_lossy()).is_ok_and(|mut found| found.next().is_some());
    place.exists() || found()
}

/// Whether a word that is not there was meant as a place: it has no space, and folders or the ending of a picture.
fn looks_like_a_path(word: &Path) -> bool {
    const ENDINGS: [&str; 9] = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "tar"];
    let text = word.to_string_lossy();
    let ending = word.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    !text.contains(char::is_whitespace)
        && (text.contains(std::path::MAIN_SEPARATOR)
            || ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())))
}

/// Why nothing more is written.
enum Stop {
    Error(Error),
    /// The reader has closed the pipe.
    Reader,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

struct Session<'a> {
    command: &'a AskCommand,
    output: &'a OutputOptions,
    assistant: &'a Assistant,
    pictures: &'a PictureList,
}

/// What was written, and how it came about.
struct Written {
    text: String,
    prompt: usize,
    tokens: usize,
    finish_reason: Option<FinishReason>,
}

impl Session<'_> {
    fn answer_all(&self, question: Option<&str>, writing: &GenerationConfig) -> Result<(), Stop> {
        let turns = self.turns(question)?;
        let items = self.pictures.items();
        for (number, item) in items.iter().enumerate() {
            // Each picture draws for itself, whatever stands before it.
            let writing = writing.clone().with_first_sequence(number as u64);
            let is_shown = items.len() == 1 && !self.output.json && !self.output.quiet;
            let written = self.see(item).and_then(|picture| {
                let mut show = |piece: &str| if is_shown { print(piece) } else { Ok(()) };
                match self.write(&turns, &picture, &writing, &mut show) {
                    Err(Stop::Error(error)) => Err(error),
                    other => Ok(other),
                }
            });
            match written {
                Ok(written) => self.line(item, &written?, is_shown)?,
                Err(error @ Error::Interrupted) => return Err(error.into()),
                Err(error) if self.command.bad == BadPictures::Skip => match self.output.json {
                    true => {
                        print(&format!("{}\n", json!({ "picture": item.id, "error": error.to_string() })))?
                    }
                    false => eprintln!("{}: {error}", item.id),
                },
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The end of an answer that was shown, or the line of one that was not.
    fn line(&self, item: &Item<PicturePlace>, written: &Written, is_shown: bool) -> Result<(), Stop> {
        let text = written.text.trim();
        if self.output.json {
            let line = json!({
                "picture": item.id, "answer": text, "finish_reason": written.finish_reason,
                "prompt_tokens": written.prompt, "completion_tokens": written.tokens,
            });
            return print(&format!("{line}\n"));
        }
        match (is_shown, self.output.quiet) {
            (true, _) => print("\n"),
            (false, true) => Ok(()),
            (false, false) => print(&format!("{}\t{}\n", item.id, text.replace(['\n', '\r'], " "))),
        }
    }

    /// Questions from standard input, each with all before it.
    fn converse(
        &self,
        item: &Item<PicturePlace>,
        first: Option<String>,
        writing: &GenerationConfig,
    ) -> Result<(), Stop> {
        if !self.assistant.takes_questions() {
            let detail = "the model was trained with the template `plain`, which has no turns: it captions pictures, \
                and holds no conversation";
            return Err(Error::config("interactive", detail).into());
        }
        let picture = self.see(item)?;
        let mut turns: Vec<Turn> = Vec::new();
        let mut lines = std::io::stdin().lock().lines();
        let mut next = first;
        loop {
            let line = match next.take() {
                Some(line) => line,
                None => {
                    if std::io::stdin().is_terminal() {
                        eprint!("> ");
                    }
                    match lines.next() {
                        Some(line) => line.map_err(|source| Error::io("standard input", source))?,
                        None => return Ok(()),
                    }
                }
            };
            if line.trim().is_empty() {
                continue;
            }
            let before = turns.len();
            match turns.is_empty() {
                true => turns.extend(self.turns(Some(&line))?),
                false => turns.push(Turn::new(Role::Human, line.trim())),
            }
            match self.write(&turns, &picture, writing, &mut print) {
                Ok(written) => {
                    print("\n")?;
                    turns.push(Turn::new(Role::Gpt, written.text.trim()));
                }
                // A question that cannot be asked leaves the conversation as it was.
                Err(Stop::Error(error @ (Error::Sample { .. } | Error::Config { .. }))) => {
                    eprintln!("error: {error}");
                    turns.truncate(before);
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    /// The turns up to the first question.
    fn turns(&self, question: Option<&str>) -> Result<Vec<Turn>> {
        let system = self.command.system.iter().map(|text| Turn::new(Role::System, text));
        let question = self.assistant.question(question)?;
        Ok(system.chain([question]).collect())
    }

    fn see(&self, item: &Item<PicturePlace>) -> Result<Vec<f32>> {
        let mut bytes = Vec::new();
        let name = self.pictures.read(item, &mut bytes)?;
        let picture = decode_picture(&bytes, &name, self.command.max_pixels.unwrap_or(MAX_PIXELS))?;
        Ok(self.assistant.embed(self.assistant.processor().process(&picture)))
    }

    fn write(
        &self,
        turns: &[Turn],
        picture: &[f32],
        writing: &GenerationConfig,
        show: &mut dyn FnMut(&str) -> Result<(), Stop>,
    ) -> Result<Written, Stop> {
        let prompt = self.assistant.prompt(turns, true)?;
        let mut answer = self.assistant.answer(&prompt, Some(picture), writing, &self.command.answer.stop)?;
        let mut text = String::new();
        for piece in answer.by_ref() {
            if interrupted().is_requested() {
                return Err(Error::Interrupted.into());
            }
            let piece = piece?;
            // Models begin with a space or a new line, as their templates have it.
            let shown = if text.trim().is_empty() { piece.trim_start() } else { piece.as_str() };
            show(shown)?;
            text += &piece;
        }
        Ok(Written {
            text,
            prompt: self.assistant.num_positions(&prompt),
            tokens: answer.num_tokens(),
            finish_reason: answer.finish_reason(),
        })
    }
}

/// Prints text at once.
fn print(text: &str) -> Result<(), Stop> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Stop::Reader),
        Err(error) => Err(Error::io("standard output", error).into()),
    }
}
