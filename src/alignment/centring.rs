use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::means::fitted_by_means;
use super::{Aligner, ClosedForm, fitting, record};
use crate::assert_shape;
use crate::embedding::{normalize, normalize_bounded};

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
        fitted_by_means!($method, fitting::check_varying);

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
