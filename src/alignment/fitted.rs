//! What fitting, saving and loading have in common over the methods.

use burn::tensor::Device;

use super::embeddings::{Embeddings, check_dims};
use crate::Result;
use crate::geometry::Moments;

/// How a method is fitted.
pub(super) trait Fit {
    /// The fitted method.
    type Fitted;

    /// Fits on sets of equal dimensions; the result is on the device of the text.
    fn fit_on(&self, text: &Embeddings<'_>, image: &Embeddings<'_>) -> Result<Self::Fitted>;

    /// Refuses sets of different dimensions, and fits.
    fn fit_checked(&self, text: &Embeddings<'_>, image: &Embeddings<'_>) -> Result<Self::Fitted> {
        check_dims(text, image)?;
        self.fit_on(text, image)
    }
}

/// A method that is fitted on the moments of both sets of unit rows.
pub(super) trait FitMoments {
    /// The fitted method.
    type Fitted;
    /// Whether the moments must hold the covariance.
    const COVARIANCE: bool = false;

    /// Fits on the moments of unit rows.
    fn fit_moments(&self, text: &Moments, image: &Moments, device: &Device) -> Result<Self::Fitted>;
}

impl<C: FitMoments> Fit for C {
    type Fitted = C::Fitted;

    fn fit_on(&self, text: &Embeddings<'_>, image: &Embeddings<'_>) -> Result<Self::Fitted> {
        let moments = |rows: &Embeddings<'_>, what| match C::COVARIANCE {
            true => rows.covariance(what),
            false => rows.moments(what),
        };
        self.fit_moments(&moments(text, "text")?, &moments(image, "image")?, text.device())
    }
}

/// `fit` of a config, and `forward`, `save` and `load` of what it fits.
macro_rules! fitted_method {
    ($config:ident => $method:ident) => {
        impl $config {
            /// Fits the method on text and image embeddings: tensors, tables, stores or rows in memory, of any sizes and
            /// in any combination. They need not be paired.
            ///
            /// # Returns
            ///
            /// The fitted method, on the device of the text where that is a tensor, else on Burn's default device.
            ///
            /// # Errors
            ///
            /// [`Mismatch`](crate::Error::Mismatch) for different numbers of dimensions;
            /// [`TooFewRows`](crate::Error::TooFewRows) for too small a set; [`Config`](crate::Error::Config) for a setting
            /// that cannot be used; [`NoSpread`](crate::Error::NoSpread) for rows that are all alike, where the method needs
            /// them to vary; [`NonFinite`](crate::Error::NonFinite) or [`ZeroRow`](crate::Error::ZeroRow) under the default
            /// policy; [`Io`](crate::Error::Io) or [`Format`](crate::Error::Format) where a store cannot be read.
            pub fn fit<'t, 'i>(
                &self,
                text: impl Into<$crate::alignment::Embeddings<'t>>,
                image: impl Into<$crate::alignment::Embeddings<'i>>,
            ) -> $crate::Result<$method> {
                $crate::alignment::fitted::Fit::fit_checked(self, &text.into(), &image.into())
            }
        }

        impl $method {
            /// The aligned unit rows without noise, `unit(transport(text))`, in the type and on the device of the rows.
            ///
            /// # Shapes
            ///
            /// - text: `[n, d]`; the rows need not be unit rows
            /// - output: `[n, d]`
            ///
            /// # Panics
            ///
            /// If the rows have another number of dimensions than those that the method was fitted on.
            pub fn forward(&self, text: burn::tensor::Tensor<2>) -> burn::tensor::Tensor<2> {
                if let Some(aligned) = $crate::alignment::aligner::align_in_place(self, &text) {
                    return aligned;
                }
                let dtype = text.dtype();
                let rows = $crate::alignment::Aligner::transport(self, text);
                $crate::embedding::normalize_bounded(rows).cast(dtype)
            }

            /// Writes the statistics to a `.safetensors` file.
            ///
            /// # Errors
            ///
            /// [`Io`](crate::Error::Io) where the file cannot be written.
            pub fn save(&self, path: impl AsRef<std::path::Path>) -> $crate::Result<()> {
                $crate::alignment::record::save(self, path.as_ref())
            }

            /// Reads what `save`, or Burn's own `save_file`, wrote.
            ///
            /// # Errors
            ///
            /// [`Io`](crate::Error::Io) where the file cannot be read, [`Format`](crate::Error::Format) where it holds
            /// something else.
            pub fn load(
                path: impl AsRef<std::path::Path>,
                device: &burn::tensor::Device,
            ) -> $crate::Result<Self> {
                $crate::alignment::record::load(path.as_ref(), device)
            }
        }
    };
}

pub(super) use fitted_method;
