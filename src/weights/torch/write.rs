//! A zip archive as `torch.save` writes it.

use std::io::{self, Seek, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::embedding::FloatType;
use crate::pickle::opcode;
use crate::weights::array::ArrayView;
use crate::{Result, atomic};

/// PyTorch maps storages into memory where they lie, and they have to lie at such multiples.
const ALIGNMENT: u16 = 64;

/// The version of the format that all releases from 1.6 on write and read.
const VERSION: &[u8] = b"3\n";

/// Writes an archive of these arrays, with values of type `float`; it is complete or not there. The same arrays give the
/// same bytes.
///
/// # Errors
///
/// [`crate::Error::Io`] where the file cannot be written.
pub(crate) fn write(path: &Path, arrays: &[ArrayView<'_>], float: FloatType) -> Result<()> {
    atomic::write(path, |file| write_archive(file, arrays, float))
}

pub(super) fn write_archive(
    file: impl Write + Seek,
    arrays: &[ArrayView<'_>],
    float: FloatType,
) -> io::Result<()> {
    let mut zip = ZipWriter::new(file);
    // No time of writing: the same arrays give the same file.
    let options =
        SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Stored).with_alignment(ALIGNMENT);
    zip.start_file("archive/data.pkl", options)?;
    zip.write_all(&pickle(arrays, float))?;
    zip.start_file("archive/byteorder", options)?;
    zip.write_all(b"little")?;
    for (index, array) in arrays.iter().enumerate() {
        let large = array.num_bytes(float) >= u64::from(u32::MAX);
        zip.start_file(format!("archive/data/{index}"), options.large_file(large))?;
        array.write(float, &mut zip)?;
    }
    zip.start_file("archive/version", options)?;
    zip.write_all(VERSION)?;
    zip.finish()?.flush()
}

/// An `OrderedDict` of name -> tensor of protocol 2, each tensor a view of all of its own storage.
fn pickle(arrays: &[ArrayView<'_>], float: FloatType) -> Vec<u8> {
    let storage = match float {
        FloatType::F16 => "HalfStorage",
        FloatType::BF16 => "BFloat16Storage",
        FloatType::F32 => "FloatStorage",
        FloatType::F64 => "DoubleStorage",
    };
    let mut pickle = Pickle(vec![opcode::PROTO, 2]);
    pickle.ordered_dict();
    pickle.0.push(opcode::MARK);
    for (index, array) in arrays.iter().enumerate() {
        pickle.text(&array.name);
        pickle.global("torch._utils", "_rebuild_tensor_v2");
        pickle.0.push(opcode::MARK);
        pickle.0.push(opcode::MARK);
        pickle.text("storage");
        pickle.global("torch", storage);
        pickle.text(&index.to_string());
        pickle.text("cpu");
        pickle.int(array.values.len());
        pickle.0.extend([opcode::TUPLE, opcode::BINPERSID]);
        pickle.int(0);
        pickle.sizes(&array.shape);
        pickle.sizes(&strides(&array.shape));
        // It needs no gradient and has no hooks.
        pickle.0.push(opcode::NEWFALSE);
        pickle.ordered_dict();
        pickle.0.extend([opcode::TUPLE, opcode::REDUCE]);
    }
    pickle.0.extend([opcode::SETITEMS, opcode::STOP]);
    pickle.0
}

/// Values to go on by for one step along each dimension, row-major.
fn strides(shape: &[usize]) -> Vec<usize> {
    (1..=shape.len()).map(|dim| shape[dim..].iter().product()).collect()
}

/// Opcodes one after another.
struct Pickle(Vec<u8>);

impl Pickle {
    fn text(&mut self, text: &str) {
        self.0.push(opcode::BINUNICODE);
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.push(opcode::GLOBAL);
        self.0.extend(format!("{module}\n{name}\n").as_bytes());
    }

    fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.0.extend([opcode::EMPTY_TUPLE, opcode::REDUCE]);
    }

    fn int(&mut self, value: usize) {
        if let Ok(value) = i32::try_from(value) {
            self.0.push(opcode::BININT);
            self.0.extend(value.to_le_bytes());
        } else {
            // Nine bytes would be needed from 2^63 on, which is no length of anything in memory.
            self.0.extend([opcode::LONG1, 8]);
            self.0.extend((value as u64).to_le_bytes());
        }
    }

    fn sizes(&mut self, sizes: &[usize]) {
        self.0.push(opcode::MARK);
        sizes.iter().for_each(|size| self.int(*size));
        self.0.push(opcode::TUPLE);
    }
}
