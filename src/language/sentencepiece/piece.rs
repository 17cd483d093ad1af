/// A kind of pieces, by the number that SentencePiece and GGUF give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::language) enum Kind {
    /// A part of texts.
    Normal = 1,
    /// What is no part of the vocabulary.
    Unknown = 2,
    /// A token with a meaning of its own, which texts do not contain.
    Control = 3,
    /// A part of texts that is never cut.
    UserDefined = 4,
    /// A piece that is not used.
    Unused = 5,
    /// A byte, for what the other pieces do not cover.
    Byte = 6,
}

impl Kind {
    /// The kind of a number.
    pub(in crate::language) fn of(number: i32) -> Option<Self> {
        use Kind::{Byte, Control, Normal, Unknown, Unused, UserDefined};
        [Normal, Unknown, Control, UserDefined, Unused, Byte].into_iter().find(|kind| *kind as i32 == number)
    }
}

/// An entry of the vocabulary.
#[derive(Clone, Debug)]
pub(in crate::language) struct Piece {
    pub(in crate::language) text: String,
    /// The higher, the earlier pieces are merged to this one.
    pub(in crate::language) score: f32,
    pub(in crate::language) kind: Kind,
}
