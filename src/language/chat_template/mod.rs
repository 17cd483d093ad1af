//! Conversations as the text that a language model was tuned on.

mod date;
mod environment;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use minijinja::{Environment, Value};
use serde::Serialize;

use crate::{Error, Result};

const KEY: &str = "chat template";
const NAME: &str = "chat";

const CHATML: &str = "\
{% for message in messages %}{{ '<|im_start|>' ~ message.role ~ '\n' ~ message.content ~ '<|im_end|>\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const LLAMA3: &str = "\
{% macro opening(role) %}{{ '<|start_header_id|>' ~ role ~ '<|end_header_id|>\n\n' }}{% endmacro %}\
{{ bos_token }}\
{% for message in messages %}{{ opening(message.role) ~ message.content | trim ~ '<|eot_id|>' }}{% endfor %}\
{% if add_generation_prompt %}{{ opening('assistant') }}{% endif %}";

/// The role of a [`Message`], by the names that chat templates know.
///
/// ```
/// use burn_revision::language::MessageRole;
/// assert_eq!(MessageRole::Assistant.to_string(), "assistant");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageRole {
    /// Instructions in front of the conversation.
    System,
    /// The user, who asks.
    User,
    /// The model, which answers.
    Assistant,
}

impl fmt::Display for MessageRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        })
    }
}

/// One message of a conversation, as chat templates take it.
///
/// ```
/// use burn_revision::language::{Message, MessageRole};
/// let message = Message::new(MessageRole::User, "What is it?");
/// assert_eq!(message.content, "What is it?");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The role of the speaker.
    pub role: MessageRole,
    /// The text.
    pub content: String,
}

impl Message {
    /// Creates a message.
    pub fn new(role: MessageRole, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// A part of a rendered conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChatSpan {
    /// The text.
    pub(crate) text: String,
    /// Whether the model is to write it.
    pub(crate) labelled: bool,
}

/// A Hugging Face chat template: Jinja that turns messages into the text that a model was tuned on.
///
/// It is rendered as `transformers` renders it: blocks are trimmed, Python's methods of strings and dictionaries are
/// available, and so are `raise_exception`, `strftime_now`, `tojson`, `namespace`, `break` and `continue`. The date is
/// always 26 July 2024, so that a model sees the same text in training, after a resumption and in use. Templates come
/// with a model and are not trusted: one that runs too long is stopped with an error.
///
/// ```
/// use burn_revision::language::{ChatTemplate, Message, MessageRole};
/// let template = ChatTemplate::new("{% for m in messages %}[{{ m.content.strip() }}]{% endfor %}", None, None)?;
/// assert_eq!(template.render(&[Message::new(MessageRole::User, " Hi ")], false)?, "[Hi]");
/// # Ok::<(), burn_revision::Error>(())
/// ```
#[derive(Clone)]
pub struct ChatTemplate(Arc<Compiled>);

struct Compiled {
    environment: Environment<'static>,
    source: String,
    bos_token: Option<String>,
    eos_token: Option<String>,
    end: OnceLock<Result<String, String>>,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compiled { source, bos_token, eos_token, .. } = &*self.0;
        formatter
            .debug_struct("ChatTemplate")
            .field("source", source)
            .field("bos_token", bos_token)
            .field("eos_token", eos_token)
            .finish()
    }
}

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Arguments
    ///
    /// * `source` - The Jinja of the template.
    /// * `bos_token`, `eos_token` - The tokens that the template knows by these names.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the line where it is not a template.
    ///
    /// ```
    /// use burn_revision::language::ChatTemplate;
    /// let error = ChatTemplate::new("{% for message in messages %}\n{{ message.content", None, None).unwrap_err();
    /// assert!(error.to_string().contains("line 2"));
    /// ```
    pub fn new(source: &str, bos_token: Option<&str>, eos_token: Option<&str>) -> Result<Self> {
        let mut environment = environment::like_transformers();
        environment
            .add_template_owned(NAME, environment::without_generation_marks(source))
            .map_err(|error| Error::config(KEY, environment::describe(&error)))?;
        Ok(Self(Arc::new(Compiled {
            environment,
            source: source.to_string(),
            bos_token: bos_token.map(str::to_string),
            eos_token: eos_token.map(str::to_string),
            end: OnceLock::new(),
        })))
    }

    /// ChatML, as Qwen and SmolLM write it, without a system turn of its own.
    ///
    /// ```
    /// use burn_revision::language::{ChatTemplate, Message, MessageRole};
    /// let text = ChatTemplate::chatml().render(&[Message::new(MessageRole::User, "Hi")], true).unwrap();
    /// assert_eq!(text, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    /// ```
    pub fn chatml() -> Self {
        static TEMPLATE: LazyLock<ChatTemplate> = LazyLock::new(|| built_in(CHATML, None, "<|im_end|>"));
        TEMPLATE.clone()
    }

    /// The format of Llama 3 Instruct.
    ///
    /// ```
    /// use burn_revision::language::{ChatTemplate, Message, MessageRole};
    /// let text = ChatTemplate::llama3().render(&[Message::new(MessageRole::User, "Hi")], false).unwrap();
    /// assert_eq!(text, "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>");
    /// ```
    pub fn llama3() -> Self {
        static TEMPLATE: LazyLock<ChatTemplate> =
            LazyLock::new(|| built_in(LLAMA3, Some("<|begin_of_text|>"), "<|eot_id|>"));
        TEMPLATE.clone()
    }

    /// The Jinja source.
    ///
    /// ```
    /// assert!(burn_revision::language::ChatTemplate::chatml().source().contains("<|im_end|>"));
    /// ```
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The text of `messages`, followed by the opening of an answer if `add_generation_prompt`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the template's objection to the messages, for example that roles must alternate.
    ///
    /// ```
    /// use burn_revision::language::ChatTemplate;
    /// let template = ChatTemplate::new("{{ raise_exception('no conversation') }}", None, None)?;
    /// assert!(template.render(&[], false).unwrap_err().to_string().contains("no conversation"));
    /// # Ok::<(), burn_revision::Error>(())
    /// ```
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let compiled = &*self.0;
        let mut context = vec![
            ("messages", Value::from_serialize(messages)),
            ("add_generation_prompt", add_generation_prompt.into()),
            // Templates ask whether these are none before they ask whether they are defined.
            ("tools", ().into()),
            ("documents", ().into()),
        ];
        let tokens = [("bos_token", &compiled.bos_token), ("eos_token", &compiled.eos_token)];
        context.extend(tokens.into_iter().filter_map(|(name, token)| Some((name, token.as_deref()?.into()))));
        compiled
            .environment
            .get_template(NAME)
            .and_then(|template| template.render(context.into_iter().collect::<Value>()))
            .map_err(|error| Error::config(KEY, environment::describe(&error)))
    }

    /// Splits the text of a conversation into what the model is to write and the rest; together the spans are
    /// `render(messages, false)`.
    ///
    /// Labelled are the answers, each with the mark that ends it, except for empty answers. White space that the template
    /// puts between its opening of an answer and the answer is for the model to write, and so labelled.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where the template refuses the messages, and where it does not write an answer directly after the
    /// text that asks for it: without a generation prompt, or where later messages change what is written for earlier
    /// ones, labels would be wrong.
    pub(crate) fn answers(&self, messages: &[Message]) -> Result<Vec<ChatSpan>> {
        self.spans(messages, false)
    }

    /// Splits the text that asks for the next answer in the same way; together the spans are `render(messages, true)`.
    ///
    /// # Errors
    ///
    /// Those of [`answers`](Self::answers).
    pub(crate) fn prompt(&self, messages: &[Message]) -> Result<Vec<ChatSpan>> {
        self.spans(messages, true)
    }

    /// The mark that the template writes after an answer.
    ///
    /// # Errors
    ///
    /// Those of [`answers`](Self::answers), shown a question and an answer.
    pub(crate) fn end(&self) -> Result<&str> {
        let found = self.0.end.get_or_init(|| {
            let probe = [Message::new(MessageRole::User, PROBE), Message::new(MessageRole::Assistant, PROBE)];
            let mark = |whole: String| Ok(self.answer(&probe, 1, &whole)?.end_mark.to_string());
            self.render(&probe, false).and_then(mark).map_err(|error| match error {
                Error::Config { detail, .. } => format!("shown a question and an answer: {detail}"),
                other => other.to_string(),
            })
        });
        found.as_deref().map_err(|detail| Error::config(KEY, detail))
    }

    fn spans(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Vec<ChatSpan>> {
        let whole = self.render(messages, add_generation_prompt)?;
        let mut spans = Vec::new();
        let mut done = 0;
        let mut push = |text: &str, labelled| {
            if !text.is_empty() {
                spans.push(ChatSpan { text: text.to_string(), labelled });
            }
        };
        for (index, message) in messages.iter().enumerate() {
            if message.role != MessageRole::Assistant {
                continue;
            }
            let Answer { start, end, end_mark } = self.answer(messages, index, &whole)?;
            let fail = |detail: String| Err(Error::config(KEY, format!("message {index}: {detail}")));
            // An answer may begin with the same words that the template puts in front of answers; its end tells them apart.
            if end_mark != self.end()? {
                return fail(format!("expected {:?} to end the answer, found {end_mark:?}", self.end()?));
            }
            if start < done {
                return fail(REWRITES.into());
            }
            if message.content.trim().is_empty() {
                continue;
            }
            push(&whole[done..start], false);
            push(&whole[start..end], true);
            done = end;
        }
        push(&whole[done..], false);
        Ok(spans)
    }

    /// Where the answer `messages[index]` and its end stand in the text of all of them.
    fn answer<'a>(&self, messages: &[Message], index: usize, whole: &'a str) -> Result<Answer<'a>> {
        let fail = |detail: String| Error::config(KEY, format!("message {index}: {detail}"));
        let asked = self.render(&messages[..index], true)?;
        let answered = self.render(&messages[..=index], false)?;
        let Some(rest) = answered.strip_prefix(asked.as_str()) else {
            return Err(fail(format!(
                "without its generation prompt the template writes another text in front of an answer than with it: \
                 expected {:?}, found {:?}",
                ending(&asked),
                from_difference(&asked, &answered)
            )));
        };
        if !whole.starts_with(&answered) {
            return Err(fail(REWRITES.into()));
        }
        let content = &messages[index].content;
        let tail = rest
            .strip_prefix(content.as_str())
            .or_else(|| rest.trim_start().strip_prefix(content.trim()))
            .ok_or_else(|| {
                let missing = match self.render(&messages[..index], false) {
                    Ok(same) if same == asked => "it has no generation prompt; ",
                    _ => "",
                };
                fail(format!(
                    "{missing}the template was expected to go on with the answer {:?}, found {:?}",
                    beginning(content.trim()),
                    beginning(rest)
                ))
            })?;
        let end = answered.trim_end().len();
        if tail.trim().is_empty() {
            return Err(fail("the template writes nothing that ends an answer".into()));
        }
        Ok(Answer { start: asked.len(), end, end_mark: whole[answered.len() - tail.len()..end].trim_start() })
    }
}

/// The place of an answer, its end included.
struct Answer<'a> {
    start: usize,
    end: usize,
    end_mark: &'a str,
}

/// A message that no template has words in common with.
const PROBE: &str = "\u{2606}\u{2605}";

const REWRITES: &str = "later messages change what the template writes up to the end of this answer";
const EXCERPT: usize = 40;

fn beginning(text: &str) -> String {
    text.chars().take(EXCERPT).collect()
}

fn ending(text: &str) -> &str {
    text.char_indices().rev().nth(EXCERPT - 1).map_or(text, |(at, _)| &text[at..])
}

/// The text of `found` from the first character on in which it differs from `expected`.
fn from_difference(expected: &str, found: &str) -> String {
    let same = expected.chars().zip(found.chars()).take_while(|(a, b)| a == b).count();
    found.chars().skip(same).take(EXCERPT).collect()
}

fn built_in(source: &str, bos_token: Option<&str>, eos_token: &str) -> ChatTemplate {
    ChatTemplate::new(source, bos_token, Some(eos_token)).expect("built-in templates are well-formed")
}
