use burn::tensor::{DType, Tensor, TensorData};

use super::{ClosedForm, noise};
use crate::embedding::{NonFinite, RowsInPlace, normalize_bounded};

/// A way to move text embeddings into the distribution of image embeddings.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::alignment::{Aligner, Identity};
///
/// let text = Tensor::<2>::from_floats([[3.0, 4.0]], &Device::default());
/// let method: Box<dyn Aligner> = Box::new(Identity::new(2));
/// let unit: Vec<f32> = method.align(text, 0).into_data().try_into_vec().unwrap();
/// assert!((unit[0] - 0.6).abs() < 1e-6 && (unit[1] - 0.8).abs() < 1e-6);
/// ```
pub trait Aligner {
    /// The name of the method, in lower case with underscores.
    fn name(&self) -> &'static str;

    /// The number of dimensions of the rows that it was fitted on.
    fn dim(&self) -> usize;

    /// The deterministic part of the map, before noise and the last normalisation: `[n, d]` to `[n, d]`.
    ///
    /// Rows need not be unit rows, and come in any float type on any device: tensors that a method keeps are cast and moved to
    /// those of the rows, since Burn does not mix types. Half-precision rows come back as float32, all others in their own
    /// type.
    fn transport(&self, text: Tensor<2>) -> Tensor<2>;

    /// The standard deviation, for each coordinate, of the isotropic noise that is added before the last
    /// normalisation; 0 for none.
    fn noise(&self) -> f64 {
        0.0
    }

    /// Whether [`Aligner::align_rows`] adds noise that [`Aligner::noise`] does not tell of, because it is not isotropic: then
    /// [`Aligner::transport`] and isotropic noise are less than the method.
    fn has_shaped_noise(&self) -> bool {
        false
    }

    /// The aligned unit rows `[n, d]` in the type of the rows given: `unit(transport(text) + noise)`.
    ///
    /// The noise is drawn on the host and depends on the seed and the number of the row only, so that it is the
    /// same on every device.
    fn align(&self, text: Tensor<2>, seed: u64) -> Tensor<2> {
        let numbers: Vec<u64> = (0..text.dims()[0] as u64).collect();
        self.align_rows(text, seed, &numbers)
    }

    /// [`Aligner::align`] for some rows of a larger set: `numbers` are those of the rows in their set, `[n]`. Parts of any
    /// size, with whatever rows left out, then get the noise of the whole.
    fn align_rows(&self, text: Tensor<2>, seed: u64, numbers: &[u64]) -> Tensor<2> {
        align_rows(self, text, seed, numbers)
    }

    /// The whole of [`Aligner::align`] as a closed form, where the method has one: rows that lie on the host, in a tensor of
    /// flex too, are then aligned there in fused loops.
    fn closed_form(&self) -> Option<ClosedForm> {
        None
    }

    /// Whether [`Aligner::align_image`] does anything.
    fn moves_images(&self) -> bool {
        false
    }

    /// What the method does to image rows `[n, d]` at inference; nothing, unless a method says otherwise.
    fn align_image(&self, image: Tensor<2>) -> Tensor<2> {
        image
    }
}

/// [`Aligner::align_rows`] of a method whose noise is isotropic, if there is any.
pub(super) fn align_rows(
    aligner: &(impl Aligner + ?Sized),
    text: Tensor<2>,
    seed: u64,
    numbers: &[u64],
) -> Tensor<2> {
    if let Some(aligned) = align_in_place(aligner, &text) {
        return aligned;
    }
    let dtype = text.dtype();
    let rows = noise::add(aligner.transport(text), aligner.noise(), seed, numbers);
    normalize_bounded(rows).cast(dtype)
}

/// [`Aligner::align`] without noise for rows of a tensor that can be read in place: in float64 row by row, rounded once.
///
/// `None` leaves them to the tensor's own operations: where the method has no closed form, or one with noise, for rows of
/// float64, which come back with all their digits, and where a row is not finite or has no direction.
pub(super) fn align_in_place(aligner: &(impl Aligner + ?Sized), text: &Tensor<2>) -> Option<Tensor<2>> {
    let ([count, dim], dtype) = (text.dims(), text.dtype());
    if dtype == DType::F64 || count == 0 {
        return None;
    }
    let rows = RowsInPlace::of(text)?;
    let form = aligner.closed_form().filter(|form| form.noise() == 0.0 && form.dim() == dim)?;
    let mut aligned = vec![0.0; count * dim];
    form.align_into(rows.raw(dim).ok()?, NonFinite::Error, 0, &mut aligned).ok()?;
    Some(Tensor::from_data(TensorData::new(aligned, [count, dim]), (&text.device(), dtype)))
}

impl<A: Aligner + ?Sized> Aligner for Box<A> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn dim(&self) -> usize {
        (**self).dim()
    }

    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        (**self).transport(text)
    }

    fn noise(&self) -> f64 {
        (**self).noise()
    }

    fn has_shaped_noise(&self) -> bool {
        (**self).has_shaped_noise()
    }

    fn align_rows(&self, text: Tensor<2>, seed: u64, numbers: &[u64]) -> Tensor<2> {
        (**self).align_rows(text, seed, numbers)
    }

    fn closed_form(&self) -> Option<ClosedForm> {
        (**self).closed_form()
    }

    fn moves_images(&self) -> bool {
        (**self).moves_images()
    }

    fn align_image(&self, image: Tensor<2>) -> Tensor<2> {
        (**self).align_image(image)
    }
}
