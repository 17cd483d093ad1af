//! What the pickle of an archive becomes.

use std::io::{Cursor, Read, Seek};
use std::rc::Rc;

use super::tuples::tuple;
use super::values::{Global, Tensor, Value};
use crate::pickle::{self, Builder, Fault, Limits, Source, pairs};

/// A longer text is no name of a tensor.
const MAX_TEXT: u64 = 1024;

/// More dicts, or entries of dicts, than any checkpoint has tensors.
const MAX_ENTRIES: usize = 1 << 20;

/// An entry of the dict that a file holds.
pub(crate) struct Entry {
    pub(crate) key: Rc<str>,
    pub(crate) value: Item,
}

/// What a pickle holds.
pub(crate) enum Content {
    Tensor(Rc<Tensor>),
    /// The entries under text of a dict.
    Dict(Vec<Entry>),
    /// A list of text and whole numbers, in files from before the archives.
    Texts(Vec<Rc<str>>),
}

impl Content {
    /// The entries of a dict.
    ///
    /// # Errors
    ///
    /// What is wrong, where there is none.
    pub(crate) fn entries(self) -> Result<Vec<Entry>, String> {
        match self {
            Self::Dict(entries) => Ok(entries),
            Self::Tensor(_) => Err("expected a dict of tensors, found a tensor".to_string()),
            Self::Texts(_) => Err("expected a dict of tensors, found a list".to_string()),
        }
    }
}

/// The value of an [`Entry`].
pub(crate) enum Item {
    Tensor(Rc<Tensor>),
    /// A list that holds nothing but text and whole numbers.
    Texts(Vec<Rc<str>>),
    /// Anything else, as messages call it.
    Other(&'static str),
}

/// What a pickle holds: a tensor, or the entries under text of a dict.
///
/// # Errors
///
/// What is wrong, with opcode and byte.
pub(crate) fn read(pickle: &[u8]) -> Result<Content, String> {
    let read =
        Source::new(Cursor::new(pickle)).and_then(|source| pickle::read(source, TensorBuilder::default()));
    let (builder, content) = read.map_err(detail)?;
    Ok(builder.finish(content))
}

/// What the first of several pickles holds, a list of text among them, and the number of its bytes.
///
/// # Errors
///
/// Those of [`read`].
pub(crate) fn read_first(pickles: &[u8]) -> Result<(Content, u64), String> {
    let builder = TensorBuilder { takes_lists: true, ..TensorBuilder::default() };
    let read = Source::new(Cursor::new(pickles)).and_then(|source| pickle::read_first(source, builder));
    let (builder, content, used) = read.map_err(detail)?;
    Ok((builder.finish(content), used))
}

fn detail(fault: Fault) -> String {
    match fault {
        Fault::Format(detail) => detail,
        Fault::Io(error) => error.to_string(),
        Fault::End => "the pickle ends early".to_string(),
    }
}

/// The dicts of a pickle while it is read.
#[derive(Default)]
struct TensorBuilder {
    /// The entries of all dicts under text; others are forgotten.
    dicts: Vec<Vec<(Rc<str>, Value)>>,
    /// The number of all entries.
    entries: usize,
    /// The items of all lists; `None` where one is neither text nor a whole number.
    lists: Vec<Option<Vec<Rc<str>>>>,
    /// Whether the pickle may be a list.
    takes_lists: bool,
}

impl TensorBuilder {
    /// The content, out of what was gathered.
    fn finish(mut self, content: Value) -> Content {
        let entries = match content {
            Value::Tensor(tensor) => return Content::Tensor(tensor),
            Value::List(list) => return Content::Texts(self.lists[list as usize].take().unwrap_or_default()),
            Value::Dict(dict) => std::mem::take(&mut self.dicts[dict as usize]),
            _ => Vec::new(),
        };
        let entries = entries.into_iter().map(|(key, value)| {
            let value = match value {
                Value::Tensor(tensor) => Item::Tensor(tensor),
                // A list that stands in a dict twice is one the first time only.
                Value::List(list) => match self.lists[list as usize].take() {
                    Some(texts) => Item::Texts(texts),
                    None => Item::Other("a list"),
                },
                other => Item::Other(other.describe()),
            };
            Entry { key, value }
        });
        Content::Dict(entries.collect())
    }

    fn new_dict(&mut self) -> Result<Value, Fault> {
        if self.dicts.len() == MAX_ENTRIES {
            return Err(format!("more than {MAX_ENTRIES} dicts").into());
        }
        self.dicts.push(Vec::new());
        Ok(Value::Dict(self.dicts.len() as u32 - 1))
    }
}

impl Builder for TensorBuilder {
    type Value = Value;

    const LIMITS: Limits = Limits {
        // A dict of tensors needs a few, and its items come by the thousand.
        stack: 1 << 20,
        // A tensor in a dict in a dict needs six.
        marks: 64,
        // Some ten for each of a hundred thousand tensors, or one for each of millions of ids.
        memo: 1 << 22,
        // An object and its entry in the memo take a byte each.
        bytes_per_memo: 2,
    };
    const CONTAINER: &'static str = "pickle";
    const CONTENT: &'static str = "dict of tensors";
    const ITEM: &'static str = "tensor";

    fn none(&mut self) -> Value {
        Value::None
    }

    fn bool(&mut self, _value: bool) -> Value {
        Value::Bool
    }

    fn int(&mut self, value: i64, _at: u64) -> Value {
        Value::Int(value)
    }

    fn long_int(&mut self, _length: u8) -> Result<Value, Fault> {
        Ok(Value::Other("a whole number of more than 64 bits"))
    }

    fn float(&mut self, _at: u64) -> Value {
        Value::Other("a floating-point number")
    }

    fn text<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        _at: u64,
        length: u64,
    ) -> Result<Value, Fault> {
        if length > MAX_TEXT {
            source.skip(length)?;
            return Ok(Value::Other("a long text"));
        }
        let bytes = source.bytes(length as usize)?;
        // Python writes lone surrogates as well, which no name has.
        Ok(std::str::from_utf8(bytes)
            .map_or(Value::Other("text that is not UTF-8"), |text| Value::Text(text.into())))
    }

    fn bytes(&mut self, _offset: u64, _length: u64) -> Result<Value, Fault> {
        Ok(Value::Other("bytes"))
    }

    fn tuple<R: Read + Seek>(&mut self, _source: &mut Source<R>, items: &[Value]) -> Result<Value, Fault> {
        Ok(tuple(items)?)
    }

    fn list(&mut self) -> Result<Value, Fault> {
        if self.lists.len() == MAX_ENTRIES {
            return Err(format!("more than {MAX_ENTRIES} lists").into());
        }
        self.lists.push(Some(Vec::new()));
        Ok(Value::List(self.lists.len() as u32 - 1))
    }

    fn dict(&mut self, _is_outermost: bool) -> Result<Value, Fault> {
        self.new_dict()
    }

    fn append(&mut self, list: Option<&Value>, items: &[Value]) -> Result<(), Fault> {
        match list {
            Some(Value::List(list)) => {
                let list = &mut self.lists[*list as usize];
                for item in items {
                    match (item, list.as_mut()) {
                        (Value::Text(text), Some(texts)) => texts.push(text.clone()),
                        (Value::Int(number), Some(texts)) => texts.push(number.to_string().into()),
                        _ => *list = None,
                    }
                }
                Ok(())
            }
            Some(other) => Err(format!("expected a list, found {}", other.describe()).into()),
            None => Err("too few values on the stack".into()),
        }
    }

    fn set_items<R: Read + Seek>(
        &mut self,
        _source: &mut Source<R>,
        dict: Option<&Value>,
        items: &[Value],
    ) -> Result<(), Fault> {
        let dict = match dict {
            Some(Value::Dict(dict)) => *dict,
            Some(other) => return Err(format!("expected a dict, found {}", other.describe()).into()),
            None => return Err("too few values on the stack".into()),
        };
        let pairs = pairs(items)?;
        let texts = pairs.iter().filter_map(|[key, value]| match key {
            Value::Text(key) => Some((key.clone(), value.clone())),
            _ => None,
        });
        self.entries += pairs.len();
        if self.entries > MAX_ENTRIES {
            return Err(format!("more than {MAX_ENTRIES} entries in dicts").into());
        }
        self.dicts[dict as usize].extend(texts);
        Ok(())
    }

    fn find_class(&mut self, module: &str, name: &str) -> Option<Value> {
        Global::find(module, name).map(Value::Global)
    }

    fn as_text<R: Read + Seek>(
        &mut self,
        _source: &mut Source<R>,
        value: &Value,
    ) -> Result<Option<String>, Fault> {
        Ok(if let Value::Text(text) = value { Some(text.to_string()) } else { None })
    }

    fn persistent_load(&mut self, id: &Value) -> Result<Option<Value>, Fault> {
        match id {
            Value::StorageId(storage) => Ok(Some(Value::Storage(storage.clone()))),
            other => Err(format!("expected the name of a storage, found {}", other.describe()).into()),
        }
    }

    fn reduce(&mut self, callee: &Value, arguments: &Value) -> Result<Value, Fault> {
        match (callee, arguments) {
            (Value::Global(Global::OrderedDict), Value::Sizes(none)) if none.is_empty() => self.new_dict(),
            (Value::Global(Global::RebuildTensor), Value::TensorArgs(tensor))
            | (Value::Global(Global::RebuildParameter), Value::ParameterArgs(tensor)) => {
                Ok(Value::Tensor(tensor.clone()))
            }
            (callee, arguments) => Err(format!(
                "a call of {} with {}, which makes no tensor",
                callee.describe(),
                arguments.describe()
            )
            .into()),
        }
    }

    /// A `state_dict` carries the versions of its modules as an attribute, which is left out here.
    fn build(&mut self, object: &Value, state: &Value) -> Result<(), Fault> {
        match (object, state) {
            (Value::Dict(_), Value::Dict(_)) => Ok(()),
            (object, state) => Err(format!("{} filled with {}", object.describe(), state.describe()).into()),
        }
    }

    fn check_content(&self, content: &Value) -> Result<(), Fault> {
        match content {
            Value::Dict(_) | Value::Tensor(_) => Ok(()),
            Value::List(_) if self.takes_lists => Ok(()),
            other => Err(format!("expected a dict of tensors, found {}", other.describe()).into()),
        }
    }
}
