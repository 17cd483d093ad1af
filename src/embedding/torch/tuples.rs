//! How tuples become the parts of a tensor.
//!
//! ```text
//! ('storage', FloatStorage, '0', 'cpu', 6)                       BINPERSID: storage "0" of 6 values
//! _rebuild_tensor_v2(storage, 0, (2, 3), (3, 1), False, {})      a view of it: offset, shape, strides
//! _rebuild_parameter(tensor, True, {})                           a tensor that was trained
//! ```

use std::rc::Rc;

use super::values::{Element, Global, Storage, Tensor, Value};

/// What these values are as a tuple.
///
/// # Errors
///
/// What is wrong, where they name a storage that cannot be.
pub(crate) fn tuple(items: &[Value]) -> Result<Value, String> {
    use Value::{Bool, Dict, Int, Sizes, Text};
    match items {
        [Text(word), Value::Global(Global::Storage(element)), Text(key), Text(_), Int(count)]
            if &**word == "storage" =>
        {
            storage(*element, key, *count)
        }
        // Before the archives, the last one named a part of another storage.
        [
            Text(word),
            Value::Global(Global::Storage(element)),
            Text(key),
            Text(_),
            Int(count),
            Value::None,
        ] if &**word == "storage" => storage(*element, key, *count),
        // The seventh one, where there is one, is metadata of the tensor.
        [Value::Storage(storage), Int(offset), Sizes(shape), Sizes(strides), Bool, Dict(_), ..]
            if items.len() <= 7 =>
        {
            let (storage, shape, strides) = (storage.clone(), shape.clone(), strides.clone());
            Ok(Value::TensorArgs(Rc::new(Tensor { storage, offset: *offset, shape, strides })))
        }
        [Value::Tensor(tensor), Bool, Dict(_)] => Ok(Value::ParameterArgs(tensor.clone())),
        _ => {
            let sizes = items.iter().map(|item| if let Int(size) = item { Some(*size) } else { None });
            Ok(sizes.collect::<Option<Rc<[i64]>>>().map_or(Value::Other("a tuple"), Sizes))
        }
    }
}

fn storage(element: Element, key: &Rc<str>, count: i64) -> Result<Value, String> {
    // Keys are numbers in all that PyTorch writes; they name an entry of the archive.
    if key.is_empty() || key.len() > 20 || !key.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("expected a number as the key of a storage, found {key:?}"));
    }
    Ok(Value::StorageId(Rc::new(Storage { key: key.clone(), element, count })))
}
