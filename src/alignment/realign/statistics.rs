use burn::tensor::Device;

use super::ReAlign;
use crate::alignment::{ClosedForm, record};

/// The fitted statistics of [`ReAlign`] on the host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReAlignStatistics {
    /// `mu_y`, the mean unit row of text, `[d]`; rounded to float32 like the authors' script does.
    pub text_mean: Vec<f32>,
    /// `mu_x`, the mean unit row of images, `[d]`; rounded likewise.
    pub image_mean: Vec<f32>,
    /// `s = sqrt(T_x / (T_y + eps))`.
    pub scale: f64,
    /// `T_y`, the spread of text about its rounded mean.
    pub text_trace: f64,
    /// `T_x`, the spread of images about their rounded mean.
    pub image_trace: f64,
    /// `E e'` at each centroid pass, `[passes][d]`.
    pub centroids: Vec<Vec<f64>>,
}

impl ReAlignStatistics {
    /// The number of dimensions.
    pub fn dim(&self) -> usize {
        self.text_mean.len()
    }

    /// The module with these statistics on `device`, in float32.
    pub fn init(&self, device: &Device) -> ReAlign {
        let dim = self.dim();
        let traces = [record::split(self.text_trace), record::split(self.image_trace)].concat();
        let centroids: Vec<f32> = self.centroids.iter().flatten().map(|&value| value as f32).collect();
        ReAlign {
            text_mean: record::constant(self.text_mean.clone(), [dim], device),
            image_mean: record::constant(self.image_mean.clone(), [dim], device),
            scale: record::constant(record::split(self.scale).to_vec(), [2], device),
            traces: record::constant(traces, [2, 2], device),
            centroids: record::constant(centroids, [self.centroids.len(), dim], device),
        }
    }

    /// The map with the centroid passes fitted so far: rows become `e'` after none, and the result after all.
    pub fn closed_form(&self) -> ClosedForm {
        let image: Vec<f64> = self.image_mean.iter().map(|&mean| f64::from(mean)).collect();
        let means = image.iter().zip(&self.text_mean);
        let shift = means.map(|(image, &text)| image - self.scale * f64::from(text)).collect();
        let step =
            |centroid: &Vec<f64>| image.iter().zip(centroid).map(|(image, mean)| image - mean).collect();
        ClosedForm::new(self.scale, shift, self.centroids.iter().map(step).collect(), 0.0)
    }
}
