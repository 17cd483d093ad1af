use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::record::{self, Stored};
use super::{Aligner, ClosedForm, FitReport, fitting};
use crate::embedding::{EmbeddingTable, NonFinite, normalize, normalize_bounded};
use crate::geometry::Moments;
use crate::{Result, assert_shape};

/// What [`Centring`] does to images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Images {
    Normalized,
    AsTheyAre,
}

/// Both modalities about zero: `unit(e_y - mu_y)` for text and `unit(e_x - mu_x)` for images.
///
/// GR-CLIP (arXiv 2507.19054) calibrates retrieval so, with means of a calibration set; the post-hoc variant of I0T
/// (arXiv 2412.14384) is the same arithmetic.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::alignment::{Aligner, Centring};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let text = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
/// let image = Tensor::<2>::from_floats([[0.0, 1.0], [0.0, -1.0]], &device);
/// let centring = Centring::fit(text.clone(), image.clone())?;
/// let moved: Vec<f32> = centring.align(text, 0).into_data().try_into_vec().unwrap();
/// let half = 0.5_f32.sqrt();
/// assert!(moved.iter().zip([half, -half, -half, half]).all(|(a, b)| (a - b).abs() < 1e-6));
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct Centring {
    text_mean: Param<Tensor<1>>,
    image_mean: Param<Tensor<1>>,
}

/// Unicorn's synthesis of image embeddings from text alone: `unit(e_y - mu_y)` (arXiv 2503.22655).
///
/// No image is needed to train on it. At inference the paper subtracts from each image embedding the mean of the test
/// set's images, and does not normalise again; here that mean is fitted, so that one image can be served alone. (The
/// transfer that the paper calls ideal, onto the mean of paired images, is [`super::MeanShift`].)
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::alignment::{Aligner, Unicorn};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let text = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
/// let image = Tensor::<2>::from_floats([[0.0, 1.0], [1.0, 0.0]], &device);
/// let unicorn = Unicorn::fit(text, image.clone())?;
/// let moved: Vec<f32> = unicorn.align_image(image).into_data().try_into_vec().unwrap();
/// assert_eq!(moved, [-0.5, 0.5, 0.5, -0.5]); // not of unit length
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct Unicorn {
    text_mean: Param<Tensor<1>>,
    image_mean: Param<Tensor<1>>,
}

macro_rules! centred {
    ($method:ident, $name:literal, $images:expr) => {
        impl $method {
            /// Fits on the moments of unit rows.
            ///
            /// # Errors
            ///
            /// [`crate::Error::Mismatch`] for different numbers of dimensions, [`crate::Error::TooFewRows`] for an empty
            /// set, [`crate::Error::NoSpread`] for one whose rows are all alike.
            pub fn from_moments(text: &Moments, image: &Moments, device: &Device) -> Result<Self> {
                fitting::check(text, image, 1)?;
                fitting::check_spread(text, "text")?;
                fitting::check_spread(image, "image")?;
                Ok(Self {
                    text_mean: record::constant(fitting::rounded(text.mean()), [text.dim()], device),
                    image_mean: record::constant(fitting::rounded(image.mean()), [text.dim()], device),
                })
            }

            /// Fits on tables, under a policy for rows without direction; reports what became of the rows.
            ///
            /// # Errors
            ///
            /// As for `from_moments`, and [`crate::Error::NonFinite`] or [`crate::Error::ZeroRow`] under
            /// [`NonFinite::Error`].
            pub fn fit_tables(
                text: &EmbeddingTable,
                image: &EmbeddingTable,
                policy: NonFinite,
                device: &Device,
            ) -> Result<(Self, FitReport)> {
                let (text, image, report) = fitting::table_moments(text, image, policy)?;
                Ok((Self::from_moments(&text, &image, device)?, report))
            }

            /// Fits on tensors `[n, d]` and `[m, d]` of any float type; the result is on the device of the text rows.
            ///
            /// # Errors
            ///
            /// As for `fit_tables` under [`NonFinite::Error`].
            ///
            /// # Panics
            ///
            /// If the numbers of dimensions differ.
            pub fn fit(text: Tensor<2>, image: Tensor<2>) -> Result<Self> {
                let device = text.device().without_autodiff();
                let (_, text, image) = fitting::tensor_moments(text, image)?;
                Self::from_moments(&text, &image, &device)
            }

            /// Writes the statistics at `path`: as `.safetensors` where the name ends so, else as a Burn record.
            ///
            /// # Errors
            ///
            /// [`crate::Error::Io`] where the file cannot be written.
            pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
                record::save(self, path.as_ref())
            }

            /// Reads what `save` or Burn's `save_file` wrote.
            ///
            /// # Errors
            ///
            /// [`crate::Error::Io`] where the file cannot be read, [`crate::Error::Format`] where it holds something
            /// else.
            pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
                let mut stored = Stored::read(path.as_ref())?;
                let (text_mean, shape) = stored.take::<1>("text_mean")?;
                let image_mean = stored.take_shaped("image_mean", shape)?;
                stored.finish()?;
                Ok(Self {
                    text_mean: record::constant(text_mean, shape, device),
                    image_mean: record::constant(image_mean, shape, device),
                })
            }
        }

        impl Aligner for $method {
            fn name(&self) -> &'static str {
                $name
            }

            fn dim(&self) -> usize {
                self.text_mean.dims()[0]
            }

            fn transport(&self, text: Tensor<2>) -> Tensor<2> {
                centered(text, &self.text_mean)
            }

            fn closed_form(&self) -> Option<ClosedForm> {
                Some(fitting::shift(&record::host(&self.text_mean), None))
            }

            fn moves_images(&self) -> bool {
                true
            }

            fn align_image(&self, image: Tensor<2>) -> Tensor<2> {
                let dtype = image.dtype();
                let rows = centered(image, &self.image_mean);
                let rows = match $images {
                    Images::Normalized => normalize_bounded(rows),
                    Images::AsTheyAre => rows,
                };
                rows.cast(dtype)
            }
        }
    };
}

centred!(Centring, "gr_clip", Images::Normalized);
centred!(Unicorn, "unicorn", Images::AsTheyAre);

/// Unit rows less a mean, in at least float32.
fn centered(rows: Tensor<2>, mean: &Param<Tensor<1>>) -> Tensor<2> {
    let [dim] = mean.dims();
    assert_shape!(rows, [_, dim], "centring: rows");
    let rows = normalize(rows);
    let dtype = rows.dtype();
    rows - record::value(mean, dtype).unsqueeze()
}
