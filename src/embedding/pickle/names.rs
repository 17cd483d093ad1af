//! The texts that have to be read: keys of dicts and the words of NumPy.

use std::collections::HashMap;

use crate::embedding::FloatType;

/// A longer text is no key.
pub(super) const MAX_NAME: usize = 255;

/// More different keys than this are no table.
const MAX_NAMES: usize = 4096;

/// The key of the id.
pub(super) const ID: u16 = 0;
/// The key of the vector.
pub(super) const EMBED: u16 = 1;
/// The little-endian byte order.
pub(super) const LITTLE: u16 = 5;
/// The byte order of the machine, which for NumPy on every machine in use is little-endian.
pub(super) const NATIVE: u16 = 6;
/// The big-endian byte order.
pub(super) const BIG: u16 = 7;
/// Row after row.
pub(super) const C_ORDER: u16 = 8;
/// Column after column, which for a single row is the same.
pub(super) const FORTRAN_ORDER: u16 = 9;

const FLOATS: [FloatType; 3] = [FloatType::F16, FloatType::F32, FloatType::F64];
const FIRST_FLOAT: u16 = 2;

/// Known from the start; the constants above are places in this list, and the usual keys and the words of NumPy
/// are there so that they need not be read again in the file.
const KNOWN: [&str; 22] = [
    "id",
    "embed",
    "f2",
    "f4",
    "f8",
    "<",
    "=",
    ">",
    "C",
    "F",
    "caption",
    "image_path",
    "numpy",
    "ndarray",
    "dtype",
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "_reconstruct",
    "numpy.core.numeric",
    "numpy._core.numeric",
    "_frombuffer",
    "latin1",
];

/// Short texts under small numbers, each once.
pub(super) struct Names {
    texts: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u16>,
    /// Whether a name of this length is known: most captions and ids then need no look-up.
    lengths: [bool; MAX_NAME + 1],
}

impl Names {
    pub(super) fn new() -> Self {
        let mut names = Self { texts: Vec::new(), numbers: HashMap::new(), lengths: [false; MAX_NAME + 1] };
        for text in KNOWN {
            names.insert(text);
        }
        names
    }

    fn insert(&mut self, text: &str) -> u16 {
        let number = self.texts.len() as u16;
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        self.lengths[text.len()] = true;
        number
    }

    /// Whether [`Names::find`] may find a text of so many bytes.
    #[inline]
    pub(super) fn may_hold(&self, length: u64) -> bool {
        usize::try_from(length).ok().and_then(|length| self.lengths.get(length)) == Some(&true)
    }

    /// The number of a text, where it is known.
    pub(super) fn find(&self, text: &[u8]) -> Option<u16> {
        self.numbers.get(std::str::from_utf8(text).ok()?).copied()
    }

    /// The number of a text of at most [`MAX_NAME`] bytes, which is known from now on.
    ///
    /// # Errors
    ///
    /// What is wrong, where the text is not UTF-8 or there are too many names.
    pub(super) fn add(&mut self, text: &[u8]) -> Result<u16, String> {
        let Ok(text) = std::str::from_utf8(text) else {
            return Err("a key that is not UTF-8".to_string());
        };
        if let Some(number) = self.numbers.get(text) {
            return Ok(*number);
        }
        if self.texts.len() == MAX_NAMES {
            return Err(format!("more than {MAX_NAMES} different keys"));
        }
        Ok(self.insert(text))
    }

    /// The text of a number that came from here.
    pub(super) fn text(&self, number: u16) -> &str {
        &self.texts[usize::from(number)]
    }
}

/// The float type of this name.
pub(super) fn float(name: u16) -> Option<FloatType> {
    FLOATS.get(usize::from(name.checked_sub(FIRST_FLOAT)?)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_places_in_the_list() {
        let names = Names::new();
        let constants = [ID, EMBED, LITTLE, NATIVE, BIG, C_ORDER, FORTRAN_ORDER];
        let texts = constants.map(|name| names.text(name));
        assert_eq!(texts, ["id", "embed", "<", "=", ">", "C", "F"]);
        let floats = ["f2", "f4", "f8", "id", "<"].map(|text| float(names.find(text.as_bytes()).unwrap()));
        let [f16, f32, f64] = FLOATS.map(Some);
        assert_eq!(floats, [f16, f32, f64, None, None]);
    }

    #[test]
    fn a_name_is_added_once_and_within_limits() {
        let mut names = Names::new();
        assert!(!names.may_hold(3));
        let first = names.add(b"abc").unwrap();
        assert_eq!(
            (names.add(b"abc"), names.find(b"abc"), names.may_hold(3)),
            (Ok(first), Some(first), true)
        );
        assert!(names.add(b"\xff").is_err());
        let full = (0..5000).find_map(|i| names.add(format!("key {i}").as_bytes()).err());
        assert_eq!(full.as_deref(), Some("more than 4096 different keys"));
    }
}
