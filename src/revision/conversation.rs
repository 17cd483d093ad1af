use serde::{Deserialize, Serialize};

use crate::language::Tokenizer;
use crate::{Error, Result};

/// Where the visual tokens go in a human turn.
pub const IMAGE_PLACEHOLDER: &str = "<image>";

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The user; nothing is learned from these turns.
    Human,
    /// The model; these turns are the labels.
    Gpt,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub from: Role,
    /// What is said; `<image>` marks where the picture is shown.
    pub value: String,
}

/// A conversation, perhaps about a picture, with the field names of LLaVA's JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The id that errors name.
    pub id: String,
    /// The id of the picture's embedding, or of the text embedding that stands in for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The turns.
    #[serde(rename = "conversations")]
    pub turns: Vec<Turn>,
}

impl Conversation {
    /// The shortest conversation about a picture: the picture, then its caption.
    pub fn caption(id: impl Into<String>, image: impl Into<String>, caption: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            image: Some(image.into()),
            turns: vec![
                Turn { from: Role::Human, value: IMAGE_PLACEHOLDER.into() },
                Turn { from: Role::Gpt, value: caption.into() },
            ],
        }
    }

    /// A text to be learned as it is, without a picture.
    pub fn text(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { id: id.into(), image: None, turns: vec![Turn { from: Role::Gpt, value: text.into() }] }
    }
}

/// A conversation as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizedSample {
    /// The id of the conversation.
    pub id: String,
    /// The id of its picture's embedding.
    pub image: Option<String>,
    /// All text tokens.
    pub tokens: Vec<u32>,
    /// Which of them are to be predicted.
    pub labelled: Vec<bool>,
    /// The token in front of which the visual tokens stand, where there is a picture.
    pub image_at: Option<usize>,
}

impl TokenizedSample {
    /// The number of labelled tokens.
    pub fn num_labels(&self) -> usize {
        self.labelled.iter().filter(|labelled| **labelled).count()
    }

    /// The number of tokens in front of the first label.
    pub fn prompt_len(&self) -> usize {
        self.labelled.iter().position(|labelled| *labelled).unwrap_or(self.tokens.len())
    }
}

const SEVERAL: &str = "more than one <image>; one picture a conversation is supported";
const UNASKED: &str =
    "the template `plain` shows pictures and asks nothing; `completion` keeps what the human says";

/// How a conversation becomes tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Template {
    /// LLaVA's `plain`, for captions: beginning of text, picture, answer, end of text. As there, the instruction beside
    /// `<image>` is left out; a question without a picture is refused.
    #[default]
    Plain,
    /// As a text without roles: beginning of text, then what both sides say in turn, each answer with an end of text.
    /// The picture stands where the human says `<image>`. This suits language models that know text alone.
    Completion,
}

impl Template {
    /// The tokens of `conversation`, cut to what fits into `max_len` positions beside the visual tokens.
    ///
    /// # Errors
    ///
    /// [`Error::Sample`] where the picture and `<image>` do not come as a pair, [`Error::NoLabel`] where no
    /// labelled token is left.
    pub fn tokenize(
        &self,
        conversation: &Conversation,
        tokenizer: &Tokenizer,
        max_len: usize,
    ) -> Result<TokenizedSample> {
        let id = &conversation.id;
        let mut tokens = vec![tokenizer.bos()];
        let mut labelled = vec![false];
        let mut image_at = None;
        for turn in &conversation.turns {
            let images = turn.value.matches(IMAGE_PLACEHOLDER).count();
            match (turn.from, images) {
                (Role::Gpt, 0) => {
                    let before = tokens.len();
                    tokens.extend(tokenizer.encode(turn.value.trim()));
                    if tokens.len() > before {
                        tokens.push(tokenizer.eos());
                    }
                    labelled.resize(tokens.len(), true);
                }
                (Role::Gpt, _) => {
                    return Err(Error::sample(id, "an answer holds <image>; only questions may"));
                }
                (Role::Human, images) => {
                    if images > 1 || images == 1 && image_at.is_some() {
                        return Err(Error::sample(id, SEVERAL));
                    }
                    let (before, behind) =
                        turn.value.split_once(IMAGE_PLACEHOLDER).unwrap_or((&turn.value, ""));
                    if *self == Self::Completion {
                        tokens.extend(tokenizer.encode(before.trim()));
                    } else if images == 0 {
                        return Err(Error::sample(id, UNASKED));
                    }
                    if images == 1 {
                        image_at = Some(tokens.len());
                    }
                    if *self == Self::Completion {
                        tokens.extend(tokenizer.encode(behind.trim()));
                    }
                    labelled.resize(tokens.len(), false);
                }
            }
        }
        match (&conversation.image, image_at) {
            (Some(image), None) => {
                return Err(Error::sample(
                    id,
                    format!("picture {image:?} is never shown: no turn says <image>"),
                ));
            }
            (None, Some(_)) => {
                return Err(Error::sample(id, "a turn says <image> but the sample has no picture"));
            }
            _ => {}
        }
        let full = tokens.len();
        tokens.truncate(max_len);
        labelled.truncate(max_len);
        if image_at.is_some_and(|at| at > max_len) {
            return Err(Error::sample(id, format!("its picture stands behind the longest length {max_len}")));
        }
        let sample =
            TokenizedSample { id: id.clone(), image: conversation.image.clone(), tokens, labelled, image_at };
        match sample.num_labels() {
            0 => Err(Error::NoLabel {
                id: id.clone(),
                detail: format!("{full} tokens of which the first {} are kept", sample.tokens.len()),
            }),
            _ => Ok(sample),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokenizer() -> Tokenizer {
        Tokenizer::train(&["red apple", "green pear"], 270).unwrap()
    }

    fn tokenize(conversation: &Conversation) -> Result<TokenizedSample> {
        Template::Plain.tokenize(conversation, &tokenizer(), 100)
    }

    proptest! {
        #[test]
        fn the_labels_are_the_answers(answers in prop::collection::vec("[a-z]{1,8}( [a-z]{1,8}){0,2}", 1..4)) {
            let tokenizer = tokenizer();
            let turns = answers.iter().flat_map(|answer| [
                Turn { from: Role::Human, value: "what is it?".into() },
                Turn { from: Role::Gpt, value: answer.clone() },
            ]);
            let conversation = Conversation { id: "c".into(), image: None, turns: turns.collect() };
            let sample = Template::Completion.tokenize(&conversation, &tokenizer, 100).unwrap();
            let labelled: Vec<u32> =
                sample.tokens.iter().zip(&sample.labelled).filter(|(_, label)| **label).map(|(t, _)| *t).collect();
            let decoded: Vec<String> =
                labelled.split_inclusive(|token| *token == tokenizer.eos()).map(|a| tokenizer.decode(a)).collect();
            prop_assert_eq!(decoded, answers);
        }
    }

    #[test]
    fn a_picture_stands_behind_the_beginning_of_text() {
        let sample = tokenize(&Conversation::caption("c", "p", "red apple")).unwrap();
        assert_eq!((sample.image_at, sample.prompt_len()), (Some(1), 1));
        assert_eq!(sample.tokens.last(), Some(&tokenizer().eos()));
    }

    #[test]
    fn a_completion_keeps_what_the_human_says_around_the_picture() {
        let mut conversation = Conversation::caption("c", "p", "red apple");
        conversation.turns[0].value = "what <image> is it?".into();
        let sample = Template::Completion.tokenize(&conversation, &tokenizer(), 100).unwrap();
        let at = sample.image_at.unwrap();
        assert_eq!(tokenizer().decode(&sample.tokens[..at]), "what");
        assert_eq!(tokenizer().decode(&sample.tokens[at..sample.prompt_len()]), "is it?");
        conversation.turns.insert(0, Turn { from: Role::Human, value: "look".into() });
        assert!(tokenize(&conversation).unwrap_err().to_string().contains("completion"));
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
        assert_eq!(conversation.turns[1], Turn { from: Role::Gpt, value: "red apple".into() });
    }
}
