use std::fmt;

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::alignment::Aligner;
use crate::{Error, Result};

/// What a method makes of rows before a model sees them.
pub(super) struct ShownAlignment {
    aligner: Box<dyn Aligner + Send + Sync>,
    device: Device,
    /// Whether the rows are pictures and not texts.
    is_image: bool,
}

impl ShownAlignment {
    /// # Errors
    ///
    /// [`Error::Mismatch`] for a method of another number of dimensions than that of the rows.
    pub fn new(
        aligner: impl Aligner + Send + Sync + 'static,
        device: &Device,
        is_image: bool,
        dim: usize,
    ) -> Result<Self> {
        match aligner.dim() {
            expected if expected == dim => {
                Ok(Self { aligner: Box::new(aligner), device: device.clone().inner(), is_image })
            }
            expected => {
                let what = format!("dimension of the embeddings for {}", aligner.name());
                Err(Error::mismatch(what, expected, dim))
            }
        }
    }

    /// What becomes of rows, `[n, d]` row-major, with these numbers in their set.
    pub fn apply(&self, shown: Vec<f32>, numbers: &[usize]) -> Vec<f32> {
        let data = TensorData::new(shown, [numbers.len(), self.aligner.dim()]);
        let rows = Tensor::<2>::from_data(data, (&self.device, DType::F32));
        let numbers: Vec<u64> = numbers.iter().map(|number| *number as u64).collect();
        let rows = match self.is_image {
            true => self.aligner.align_image(rows),
            // The noise of `apply` with the seed 0.
            false => self.aligner.align_rows(rows, 0, &numbers),
        };
        rows.into_data().try_into_vec_as::<f32>().expect("a float type converts to f32")
    }
}

impl fmt::Debug for ShownAlignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShownAlignment")
            .field("aligner", &self.aligner.name())
            .field("is_image", &self.is_image)
            .finish()
    }
}
