//! Conversations, from files to labelled tokens.

mod chat;
mod entry;
mod file;
mod read;
mod sample;
mod template;
#[cfg(test)]
mod tests;
mod wrapper;

use serde::{Deserialize, Serialize};

use crate::language::MessageRole;

pub use read::{Conversations, read_conversations};
pub use sample::Sample;
pub use template::Template;

/// Marks the place of the visual tokens in a human turn.
pub const IMAGE_PLACEHOLDER: &str = "<image>";

/// The speaker of a turn. The names of other data sets, `user` and `assistant`, are read as well.
///
/// # Example
///
/// ```
/// use burn_revision::revision::Role;
/// assert_eq!(serde_json::from_str::<Role>("\"assistant\"").unwrap(), Role::Gpt);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions; these turns are not labels.
    System,
    /// The user; these turns are not labels.
    #[serde(alias = "user")]
    Human,
    /// The model; these turns are the labels.
    #[serde(alias = "assistant")]
    Gpt,
}

impl From<Role> for MessageRole {
    fn from(role: Role) -> Self {
        match role {
            Role::System => Self::System,
            Role::Human => Self::User,
            Role::Gpt => Self::Assistant,
        }
    }
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The speaker.
    pub from: Role,
    /// The text; `<image>` marks the place of the picture.
    pub value: String,
}

impl Turn {
    /// A turn of `from`.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_revision::revision::{Role, Turn};
    /// assert_eq!(Turn::new(Role::Human, "What is it?").from, Role::Human);
    /// ```
    pub fn new(from: Role, value: impl Into<String>) -> Self {
        Self { from, value: value.into() }
    }
}

/// A conversation, perhaps about a picture, with the field names of LLaVA's JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The id, for errors.
    pub id: String,
    /// The id of the embedding of the picture, or of the aligned text in place of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The turns.
    #[serde(rename = "conversations")]
    pub turns: Vec<Turn>,
}

impl Conversation {
    /// The shortest conversation about a picture: the picture, then its caption.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_revision::revision::Conversation;
    /// assert_eq!(Conversation::caption("c", "a.jpg", "An apple.").turns.len(), 2);
    /// ```
    pub fn caption(id: impl Into<String>, image: impl Into<String>, caption: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            image: Some(image.into()),
            turns: vec![Turn::new(Role::Human, IMAGE_PLACEHOLDER), Turn::new(Role::Gpt, caption)],
        }
    }

    /// A text without a picture, all of which is labelled.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_revision::revision::Conversation;
    /// assert_eq!(Conversation::text("t", "An apple.").image, None);
    /// ```
    pub fn text(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { id: id.into(), image: None, turns: vec![Turn::new(Role::Gpt, text)] }
    }
}
