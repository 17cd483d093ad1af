//! Methods whose statistics are the means of both modalities.

/// Fitting, saving and loading of a method with the fields `text_mean` and `image_mean`; `$check` refuses moments that it
/// cannot be fitted on.
macro_rules! fitted_by_means {
    ($method:ident, $check:path) => {
        impl $method {
            /// Fits on the moments of unit rows.
            ///
            /// # Errors
            ///
            /// [`crate::Error::Mismatch`] for different numbers of dimensions, [`crate::Error::TooFewRows`] for an empty
            /// set, and [`crate::Error::NoSpread`] for rows that are all alike, where the method leaves nothing of
            /// those.
            pub fn from_moments(
                text: &$crate::geometry::Moments,
                image: &$crate::geometry::Moments,
                device: &burn::tensor::Device,
            ) -> $crate::Result<Self> {
                $check(text, image)?;
                Ok(Self {
                    text_mean: $crate::alignment::record::constant(
                        $crate::alignment::fitting::rounded(text.mean()),
                        [text.dim()],
                        device,
                    ),
                    image_mean: $crate::alignment::record::constant(
                        $crate::alignment::fitting::rounded(image.mean()),
                        [text.dim()],
                        device,
                    ),
                })
            }

            /// Fits on tables, under a policy for rows without direction; reports what became of the rows.
            ///
            /// # Errors
            ///
            /// As for `from_moments`, and [`crate::Error::NonFinite`] or [`crate::Error::ZeroRow`] under
            /// [`NonFinite::Error`](crate::embedding::NonFinite::Error).
            pub fn fit_tables(
                text: &$crate::embedding::EmbeddingTable,
                image: &$crate::embedding::EmbeddingTable,
                policy: $crate::embedding::NonFinite,
                device: &burn::tensor::Device,
            ) -> $crate::Result<(Self, $crate::alignment::FitReport)> {
                let (text, image, report) = $crate::alignment::fitting::table_moments(text, image, policy)?;
                Ok((Self::from_moments(&text, &image, device)?, report))
            }

            /// Fits on tensors `[n, d]` and `[m, d]` of any float type; the result is on the device of the text rows.
            ///
            /// # Errors
            ///
            /// As for `fit_tables` under [`NonFinite::Error`](crate::embedding::NonFinite::Error).
            ///
            /// # Panics
            ///
            /// If the numbers of dimensions differ.
            pub fn fit(
                text: burn::tensor::Tensor<2>,
                image: burn::tensor::Tensor<2>,
            ) -> $crate::Result<Self> {
                let device = text.device().without_autodiff();
                let (_, text, image) = $crate::alignment::fitting::tensor_moments(text, image)?;
                Self::from_moments(&text, &image, &device)
            }

            /// Writes the statistics at `path`: as `.safetensors` where the name ends so, else as a Burn record.
            ///
            /// # Errors
            ///
            /// [`crate::Error::Io`] where the file cannot be written.
            pub fn save(&self, path: impl AsRef<std::path::Path>) -> $crate::Result<()> {
                $crate::alignment::record::save(self, path.as_ref())
            }

            /// Reads what `save` or Burn's `save_file` wrote.
            ///
            /// # Errors
            ///
            /// [`crate::Error::Io`] where the file cannot be read, [`crate::Error::Format`] where it holds something
            /// else.
            pub fn load(
                path: impl AsRef<std::path::Path>,
                device: &burn::tensor::Device,
            ) -> $crate::Result<Self> {
                let mut stored = $crate::alignment::record::Stored::read(path.as_ref())?;
                let (text_mean, shape) = stored.take::<1>("text_mean")?;
                let image_mean = stored.take_shaped("image_mean", shape)?;
                stored.finish()?;
                Ok(Self {
                    text_mean: $crate::alignment::record::constant(text_mean, shape, device),
                    image_mean: $crate::alignment::record::constant(image_mean, shape, device),
                })
            }
        }
    };
}

pub(super) use fitted_by_means;
