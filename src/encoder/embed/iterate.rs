use std::collections::VecDeque;

use rayon::prelude::*;

use super::list::PicturePlace;
use super::pictures::processed;
use super::{Item, PictureList};
use crate::device::is_cpu;
use crate::encoder::{ImageEncoder, MAX_PIXELS};
use crate::{Error, Result};

/// The embeddings of pictures, one after the other in the order of the list: rows of unit length.
///
/// Pictures are decoded, and on a processor embedded, on all cores, some batches ahead. One that cannot be read is an error
/// in its place, and those behind it go on. [`embed_pictures`](super::embed_pictures) writes them to files instead.
///
/// # Example
///
/// ```no_run
/// use burn::tensor::{Device, FloatDType};
/// use burn_revision::encoder::{PictureList, PictureRows, PretrainedEncoder};
///
/// # fn main() -> burn_revision::Result<()> {
/// let encoder = PretrainedEncoder::open("clip-vit-base-patch32")?.image(FloatDType::F32, &Device::default())?;
/// let photos = PictureList::find(&["photos".into()], None, None)?;
/// for picture in PictureRows::new(&encoder, &photos) {
///     let (item, row) = picture?;
///     println!("{}: {} values", item.id, row.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PictureRows<'a> {
    encoder: &'a ImageEncoder,
    pictures: &'a PictureList,
    batch_size: usize,
    max_pixels: u64,
    /// The first picture that is not embedded yet.
    next: usize,
    ready: VecDeque<Result<(&'a Item<PicturePlace>, Vec<f32>)>>,
}

impl<'a> PictureRows<'a> {
    /// The rows of all pictures of a list.
    pub fn new(encoder: &'a ImageEncoder, pictures: &'a PictureList) -> Self {
        let batch_size = if is_cpu(encoder.device()) { 8 } else { 32 };
        Self { encoder, pictures, batch_size, max_pixels: MAX_PIXELS, next: 0, ready: VecDeque::new() }
    }

    /// How many pictures go through the tower together; by default 8 on a processor, 32 on other devices.
    ///
    /// # Panics
    ///
    /// Panics for 0.
    pub fn with_batch_size(mut self, batch_size: usize) -> Self {
        assert!(batch_size > 0, "batch_size must be at least 1, found 0");
        self.batch_size = batch_size;
        self
    }

    /// The most pixels of a picture; by default [`MAX_PIXELS`].
    pub fn with_max_pixels(mut self, max_pixels: u64) -> Self {
        self.max_pixels = max_pixels;
        self
    }

    /// Embeds a batch for each core.
    fn fill(&mut self) {
        let items = &self.pictures.items()[self.next..];
        let items = &items[..items.len().min(self.batch_size * rayon::current_num_threads())];
        self.next += items.len();
        let this = &*self;
        let batches = items.par_chunks(this.batch_size);
        let rows: Vec<_> = if is_cpu(this.encoder.device()) {
            batches.map(|batch| this.embedded(batch, this.decoded(batch))).collect()
        } else {
            let decoded: Vec<_> = batches.map(|batch| this.decoded(batch)).collect();
            let batches = items.chunks(this.batch_size).zip(decoded);
            batches.map(|(batch, pixels)| this.embedded(batch, pixels)).collect()
        };
        self.ready.extend(rows.into_iter().flatten());
    }

    fn decoded(&self, batch: &[Item<PicturePlace>]) -> Vec<Result<Vec<f32>>> {
        let mut bytes = Vec::new();
        let pixels = |item| processed(self.encoder, self.pictures, item, self.max_pixels, &mut bytes);
        batch.iter().map(pixels).collect()
    }

    fn embedded(
        &self,
        batch: &'a [Item<PicturePlace>],
        pixels: Vec<Result<Vec<f32>>>,
    ) -> Vec<Result<(&'a Item<PicturePlace>, Vec<f32>)>> {
        let mut sound = Vec::new();
        let read: Vec<Option<Error>> =
            pixels.into_iter().map(|pixels| pixels.map(|pixels| sound.extend(pixels)).err()).collect();
        let rows = self.encoder.embed(sound);
        let mut rows = rows.chunks(self.encoder.dim());
        let row = |(item, error)| match error {
            Some(error) => Err(error),
            None => Ok((item, rows.next().expect("a row for each picture").to_vec())),
        };
        batch.iter().zip(read).map(row).collect()
    }
}

impl<'a> Iterator for PictureRows<'a> {
    type Item = Result<(&'a Item<PicturePlace>, Vec<f32>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            self.fill();
        }
        self.ready.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.ready.len() + self.pictures.items().len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for PictureRows<'_> {}
