use crate::alignment::ClosedForm;

/// The fitted statistics of [`ReAlign`](super::ReAlign) on the host.
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
