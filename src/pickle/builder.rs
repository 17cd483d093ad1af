use std::io::{Read, Seek};

use super::{Fault, Source};

/// How much of a pickle is kept at once. Whatever is kept also grows with the bytes read only.
pub(crate) struct Limits {
    /// Values on the stack.
    pub(crate) stack: usize,
    /// Marks on the stack: how deep containers are nested.
    pub(crate) marks: usize,
    /// Objects in the memo.
    pub(crate) memo: u64,
    /// Bytes of the file for each object in the memo.
    pub(crate) bytes_per_memo: u64,
}

/// What one kind of file makes of the objects of its pickle. Nothing is executed: calls are recognised by their names
/// and arguments, and the rest is refused.
///
/// Errors say what is wrong; the machine adds the opcode and the byte.
pub(crate) trait Builder {
    /// What the stack and the memo hold.
    type Value: Clone;

    /// How much is kept at once.
    const LIMITS: Limits;
    /// What holds the pickle, in messages: a `file`, for example.
    const CONTAINER: &'static str;
    /// What the pickle holds, in messages: a `dict of tensors`, for example.
    const CONTENT: &'static str;
    /// What functions and classes are needed for, in messages: a `tensor`, for example.
    const ITEM: &'static str;

    /// Which part of the content is being read, for messages.
    fn context(&self) -> Option<String> {
        None
    }

    /// `None`.
    fn none(&mut self) -> Self::Value;

    /// `True` or `False`.
    fn bool(&mut self, value: bool) -> Self::Value;

    /// A whole number, whose opcode stands at byte `at`.
    fn int(&mut self, value: i64, at: u64) -> Self::Value;

    /// A whole number of `length` bytes, which are more than eight.
    fn long_int(&mut self, length: u8) -> Result<Self::Value, Fault>;

    /// A floating-point number, whose opcode stands at byte `at`.
    fn float(&mut self, at: u64) -> Self::Value;

    /// The next `length` bytes of the source, which are text whose opcode stands at byte `at`; reads or skips them.
    fn text<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        at: u64,
        length: u64,
    ) -> Result<Self::Value, Fault>;

    /// `length` bytes from byte `offset` on, which the machine skips.
    fn bytes(&mut self, offset: u64, length: u64) -> Result<Self::Value, Fault>;

    /// A tuple.
    fn tuple<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        items: &[Self::Value],
    ) -> Result<Self::Value, Fault>;

    /// An empty list.
    fn list(&mut self) -> Result<Self::Value, Fault>;

    /// An empty dict; `is_outermost` where the stack is empty.
    fn dict(&mut self, is_outermost: bool) -> Result<Self::Value, Fault>;

    /// Appends to `list`, the value below `items`; there may be none above the last mark.
    fn append(&mut self, list: Option<&Self::Value>, items: &[Self::Value]) -> Result<(), Fault>;

    /// Puts keys and values, one after the other (see [`pairs`]), into `dict`, the value below `items`; there may be
    /// none above the last mark.
    fn set_items<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        dict: Option<&Self::Value>,
        items: &[Self::Value],
    ) -> Result<(), Fault>;

    /// A function or class by its name; `None` for one that the file does not need.
    fn find_class(&mut self, module: &str, name: &str) -> Option<Self::Value>;

    /// The text of a value, where it is text.
    fn as_text<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        value: &Self::Value,
    ) -> Result<Option<String>, Fault>;

    /// The object outside the pickle that `id` stands for; `None` where such files have none.
    fn persistent_load(&mut self, _id: &Self::Value) -> Result<Option<Self::Value>, Fault> {
        Ok(None)
    }

    /// What a call of `callee` would return.
    fn reduce(&mut self, callee: &Self::Value, arguments: &Self::Value) -> Result<Self::Value, Fault>;

    /// Sets the state of an object.
    fn build(&mut self, object: &Self::Value, state: &Self::Value) -> Result<(), Fault>;

    /// Checks the value that the whole pickle stands for.
    fn check_content(&self, content: &Self::Value) -> Result<(), Fault>;
}

/// The keys and values that [`Builder::set_items`] gets.
///
/// # Errors
///
/// [`Fault::Format`] where the last key has no value.
#[inline]
pub(crate) fn pairs<V>(items: &[V]) -> Result<&[[V; 2]], Fault> {
    match items.as_chunks() {
        (pairs, []) => Ok(pairs),
        _ => Err("a key without a value".into()),
    }
}
