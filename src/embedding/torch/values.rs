//! What the stack and the memo of the machine hold.

use std::rc::Rc;

use crate::embedding::FloatType;

/// The type of the values in a storage: a float type, or one that is not read, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Float(FloatType),
    Int8,
    UInt8,
    Other(&'static str),
}

impl Element {
    /// The bytes of a value.
    pub(crate) fn size(self) -> Option<u64> {
        match self {
            Self::Float(float) => Some(float.size() as u64),
            Self::Int8 | Self::UInt8 | Self::Other("bool") => Some(1),
            Self::Other("int16") => Some(2),
            Self::Other("int32") => Some(4),
            Self::Other("int64" | "complex64") => Some(8),
            Self::Other("complex128") => Some(16),
            Self::Other(_) => None,
        }
    }

    /// The name of the type in messages, that of PyTorch.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Float(FloatType::F16) => "float16",
            Self::Float(FloatType::BF16) => "bfloat16",
            Self::Float(FloatType::F32) => "float32",
            Self::Float(FloatType::F64) => "float64",
            Self::Int8 => "int8",
            Self::UInt8 => "uint8",
            Self::Other(name) => name,
        }
    }
}

/// The classes of `torch` that hold values.
const STORAGES: [(&str, Element); 12] = [
    ("FloatStorage", Element::Float(FloatType::F32)),
    ("HalfStorage", Element::Float(FloatType::F16)),
    ("BFloat16Storage", Element::Float(FloatType::BF16)),
    ("DoubleStorage", Element::Float(FloatType::F64)),
    ("LongStorage", Element::Other("int64")),
    ("IntStorage", Element::Other("int32")),
    ("ShortStorage", Element::Other("int16")),
    ("CharStorage", Element::Int8),
    ("ByteStorage", Element::UInt8),
    ("BoolStorage", Element::Other("bool")),
    ("ComplexFloatStorage", Element::Other("complex64")),
    ("ComplexDoubleStorage", Element::Other("complex128")),
];

/// The only functions and classes that a file may name; none is ever called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    /// `collections.OrderedDict`, a dict like any other here.
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2`: a view of a storage.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`: a tensor that is trained.
    RebuildParameter,
    /// A class of storages.
    Storage(Element),
}

impl Global {
    pub(crate) fn find(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch", _) => {
                let storage = STORAGES.iter().find(|(storage, _)| *storage == name);
                storage.map(|(_, element)| Self::Storage(*element))
            }
            _ => None,
        }
    }
}

/// A storage as the pickle describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    /// Its name in the archive, `data/KEY`.
    pub(crate) key: Rc<str>,
    pub(crate) element: Element,
    /// The number of its values.
    pub(crate) count: i64,
}

/// A view of a storage as the pickle describes it; [`View`](super::view::View) checks those that are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub(crate) storage: Rc<Storage>,
    /// The first value.
    pub(crate) offset: i64,
    pub(crate) shape: Rc<[i64]>,
    /// Values to go on by for one step along each dimension.
    pub(crate) strides: Rc<[i64]>,
}

/// A value on the stack. None holds a list of others, so that nothing is nested, however a file is made: tuples are
/// recognised as they are made, dicts and lists are numbers, and what no tensor needs is forgotten.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    None,
    Bool,
    Int(i64),
    Text(Rc<str>),
    Global(Global),
    /// A list, as a number of the builder's.
    List(u32),
    /// A dict, as a number of the builder's.
    Dict(u32),
    /// A tuple of whole numbers: a shape, or strides.
    Sizes(Rc<[i64]>),
    /// `('storage', class, key, device, count)`, which BINPERSID turns into the storage.
    StorageId(Rc<Storage>),
    Storage(Rc<Storage>),
    /// The arguments of `_rebuild_tensor_v2`.
    TensorArgs(Rc<Tensor>),
    /// The arguments of `_rebuild_parameter`.
    ParameterArgs(Rc<Tensor>),
    Tensor(Rc<Tensor>),
    /// What no tensor needs, as messages call it.
    Other(&'static str),
}

impl Value {
    /// What this is, for messages.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool => "a truth value",
            Self::Int(_) => "a whole number",
            Self::Text(_) => "text",
            Self::Global(Global::OrderedDict) => "OrderedDict",
            Self::Global(Global::RebuildTensor) => "_rebuild_tensor_v2",
            Self::Global(Global::RebuildParameter) => "_rebuild_parameter",
            Self::Global(Global::Storage(_)) => "a class of storages",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Sizes(_) | Self::StorageId(_) | Self::TensorArgs(_) | Self::ParameterArgs(_) => "a tuple",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
            Self::Other(what) => what,
        }
    }
}
