use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Conversation, IMAGE_PLACEHOLDER, Role, Sample};
use crate::language::Tokenizer;
use crate::{Error, Result};

const SEVERAL: &str = "more than one <image>; one picture a conversation is supported";
const NO_QUESTION: &str =
    "the template `plain` has no questions, only pictures; `completion` keeps the text of human turns";

/// The format in which a conversation is tokenized.
///
/// With the chat templates (`llama`, `chatml`, `chat`) the picture is exactly at `<image>` in a human turn. White space
/// around it is removed, except for one newline before a text on the next line. Text is tokenized piece by piece: up to
/// the picture, from there to the answer, the answer with the token that ends it, and so on. The prompt of generation ends
/// with such a piece, so that no token is merged across its end.
///
/// # Example
///
/// ```
/// use burn_revision::revision::Template;
/// let template: Template = "chatml".parse().unwrap();
/// assert_eq!((template, template.to_string().as_str()), (Template::Chatml, "chatml"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Template {
    /// LLaVA's `plain`, for captions: beginning of text, picture, answer, end of text. As there, the other text of a
    /// turn with `<image>` is left out; a question without a picture is refused.
    #[default]
    Plain,
    /// A text without roles: beginning of text, then all turns, each answer with an end of text. The picture is at
    /// `<image>`. For language models that were not trained on chats.
    Completion,
    /// The format of Llama 3 Instruct.
    Llama,
    /// ChatML, without a system turn of its own.
    Chatml,
    /// The chat template of the tokenizer. One that inserts thoughts before answers, or formats the last turn otherwise
    /// than those before, is refused; for models of the first kind with ChatML, use `chatml`.
    Chat,
}

impl Template {
    pub(super) const ALL: [Self; 5] = [Self::Plain, Self::Completion, Self::Llama, Self::Chatml, Self::Chat];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Completion => "completion",
            Self::Llama => "llama",
            Self::Chatml => "chatml",
            Self::Chat => "chat",
        }
    }

    pub(super) fn error(self, detail: impl fmt::Display) -> Error {
        Error::config("template", format!("`{self}`: {detail}"))
    }

    /// The tokens of `conversation`, of which at most `max_len` are kept; visual tokens are not counted.
    ///
    /// The answers are labelled, each with the token that ends it. Only the right end is cut.
    ///
    /// # Errors
    ///
    /// [`Error::Sample`] where the picture and `<image>` do not come as a pair, where the picture would be cut off and
    /// where a chat template refuses the conversation, [`Error::NoLabel`] where no labelled token is left;
    /// [`Error::Config`] where the tokenizer does not fit the template.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_revision::language::Tokenizer;
    /// use burn_revision::revision::{Conversation, Template};
    /// let tokenizer = Tokenizer::train(&["red apple"], 270).unwrap();
    /// let sample = Template::Plain.tokenize(&Conversation::caption("c", "p", "red apple"), &tokenizer, 100).unwrap();
    /// assert_eq!((sample.image_at, sample.prompt_len(), sample.truncated), (Some(1), 1, 0));
    /// ```
    pub fn tokenize(
        &self,
        conversation: &Conversation,
        tokenizer: &Tokenizer,
        max_len: usize,
    ) -> Result<Sample> {
        self.lay_out(conversation, tokenizer, false)?.cut(max_len)
    }

    /// The tokens before the next answer of `conversation`, none of them labelled: the prompt of generation.
    ///
    /// [`tokenize`](Self::tokenize) of the conversation with that answer begins with the same tokens.
    ///
    /// # Errors
    ///
    /// Those of [`tokenize`](Self::tokenize), and [`Error::Sample`] where the last turn is an answer.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_revision::language::Tokenizer;
    /// use burn_revision::revision::{Conversation, Template};
    /// let tokenizer = Tokenizer::train(&["red apple"], 270).unwrap();
    /// let mut conversation = Conversation::caption("c", "p", "red apple");
    /// conversation.turns.pop();
    /// let prompt = Template::Plain.prompt(&conversation, &tokenizer).unwrap();
    /// assert_eq!((prompt.tokens.as_slice(), prompt.num_labels()), (tokenizer.bos().as_slice(), 0));
    /// ```
    pub fn prompt(&self, conversation: &Conversation, tokenizer: &Tokenizer) -> Result<Sample> {
        if conversation.turns.last().is_some_and(|turn| turn.from == Role::Gpt) {
            return Err(Error::sample(
                &conversation.id,
                "its last turn is an answer, so there is none to ask for",
            ));
        }
        let mut sample = self.lay_out(conversation, tokenizer, true)?;
        sample.labelled.fill(false);
        Ok(sample)
    }

    /// The token that ends an answer.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where the tokenizer has no chat template of its own but should, where the template does not
    /// write answers after its generation prompt, and where what ends an answer is not one token.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_revision::language::Tokenizer;
    /// use burn_revision::revision::Template;
    /// let tokenizer = Tokenizer::train(&["red apple"], 270).unwrap();
    /// assert_eq!(Template::Plain.end(&tokenizer).unwrap(), tokenizer.eos());
    /// let error = Template::Llama.end(&tokenizer).unwrap_err();
    /// assert!(error.to_string().contains("<|eot_id|>"));
    /// ```
    pub fn end(&self, tokenizer: &Tokenizer) -> Result<u32> {
        match self.chat_template(tokenizer)? {
            Some(template) => self.end_of_chat(&template, tokenizer),
            None => Ok(tokenizer.eos()),
        }
    }

    /// The tokens at which generation ends: [`end`](Self::end) first, then the other stop tokens of the tokenizer.
    ///
    /// # Errors
    ///
    /// Those of [`end`](Self::end).
    pub fn stops(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        let end = self.end(tokenizer)?;
        let others = tokenizer.stop_tokens().iter().copied().filter(|token| *token != end);
        Ok(std::iter::once(end).chain(others).collect())
    }

    fn lay_out(self, conversation: &Conversation, tokenizer: &Tokenizer, prompt: bool) -> Result<Sample> {
        check_picture(conversation)?;
        let sample = match self.chat_template(tokenizer)? {
            Some(template) => self.chat(&template, conversation, tokenizer, prompt),
            None => self.text(conversation, tokenizer),
        }?;
        tokenizer.check(&sample.tokens).map_err(|detail| Error::sample(&conversation.id, detail))?;
        Ok(sample)
    }

    /// `plain` and `completion`: no words but those of the conversation.
    fn text(self, conversation: &Conversation, tokenizer: &Tokenizer) -> Result<Sample> {
        let mut sample = Sample::empty(conversation);
        sample.push(tokenizer.bos(), false);
        for turn in &conversation.turns {
            let picture = turn.value.split_once(IMAGE_PLACEHOLDER);
            match (turn.from, self) {
                (Role::Gpt, _) => {
                    let answer = tokenizer.encode(turn.value.trim());
                    let end = (!answer.is_empty()).then_some(tokenizer.eos());
                    sample.push(answer.into_iter().chain(end), true);
                }
                (Role::System, Self::Plain) => {
                    let detail = "the template `plain` has no place for a system turn";
                    return Err(Error::sample(&conversation.id, detail));
                }
                (Role::Human, Self::Plain) if picture.is_none() => {
                    return Err(Error::sample(&conversation.id, NO_QUESTION));
                }
                (Role::Human, Self::Plain) => sample.show("", Some(""), tokenizer),
                _ => {
                    let (before, after) = picture.unzip();
                    sample.show(before.unwrap_or(&turn.value).trim(), after.map(str::trim), tokenizer);
                }
            }
        }
        Ok(sample)
    }
}

/// A picture is shown once, by a human, or there is none.
fn check_picture(conversation: &Conversation) -> Result<()> {
    let fail = |detail: &str| Err(Error::sample(&conversation.id, detail));
    let mut shown = 0;
    for turn in &conversation.turns {
        let images = turn.value.matches(IMAGE_PLACEHOLDER).count();
        match turn.from {
            _ if images == 0 => {}
            Role::Human => shown += images,
            Role::Gpt => return fail("an answer holds <image>; only questions may"),
            Role::System => return fail("a system turn holds <image>; only questions may"),
        }
    }
    match (&conversation.image, shown) {
        (_, 2..) => fail(SEVERAL),
        (Some(image), 0) => fail(&format!("picture {image:?} is never shown: no turn says <image>")),
        (None, 1) => fail("a turn says <image> but the sample has no picture"),
        _ => Ok(()),
    }
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Template {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|template| template.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::config("template", format!("expected one of {names}, found {name:?}"))
        })
    }
}
