use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::Result;
use crate::alignment::record::{self, Stored};

/// The radii of each block carried from the distribution of the texts to that of the images: `T_k(r) = F_x^{-1}(F_y(r))` of
/// the empirical distributions (arXiv 2605.07825, Sec. 4).
///
/// `T_k` is tabulated on even cells from the smallest to the largest radius of the texts and is linear within a cell; beyond
/// both ends it goes on in proportion. It never falls.
#[derive(Module, Debug)]
pub(super) struct RadialMap {
    /// Where the first cell begins, `[m]`.
    start: Param<Tensor<1>>,
    /// The width of a cell, `[m]`.
    width: Param<Tensor<1>>,
    /// The images' radii at the ends of the cells, `[cells + 1, m]`.
    values: Param<Tensor<2>>,
}

/// The same on the host.
#[derive(Clone, Debug)]
pub(super) struct RadialTables {
    start: Vec<f32>,
    width: Vec<f32>,
    /// A block's values one behind the other.
    values: Vec<f32>,
    cells: usize,
}

/// The columns of a row-major matrix of so many columns, one behind the other.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}

/// The value of the inverse distribution of sorted numbers at a probability, linear between the numbers.
fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let place = (probability * sorted.len() as f64 - 0.5).clamp(0.0, (sorted.len() - 1) as f64);
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// The share of sorted numbers up to a value, linear between the numbers; the inverse of [`quantile`] where they differ.
fn share(sorted: &[f64], value: f64) -> f64 {
    let (below, up_to) = (sorted.partition_point(|&r| r < value), sorted.partition_point(|&r| r <= value));
    let n = sorted.len() as f64;
    if up_to > below {
        // The middle of the equal ones.
        return (below + up_to) as f64 / (2.0 * n);
    }
    match below {
        0 => 0.0,
        _ if below == sorted.len() => 1.0,
        _ => {
            let (low, high) = (sorted[below - 1], sorted[below]);
            (below as f64 - 0.5 + (value - low) / (high - low)) / n
        }
    }
}

impl RadialTables {
    /// The tables for radii `[n, blocks]` of both sets.
    pub fn fit(text: &[f64], image: &[f64], blocks: usize, cells: usize) -> Self {
        let sorted = |radii: &[f64], block: usize| {
            let mut column: Vec<f64> = radii.iter().skip(block).step_by(blocks).copied().collect();
            column.sort_by(f64::total_cmp);
            column
        };
        let mut tables = Self {
            start: Vec::new(),
            width: Vec::new(),
            values: Vec::with_capacity(blocks * (cells + 1)),
            cells,
        };
        for block in 0..blocks {
            let (text, image) = (sorted(text, block), sorted(image, block));
            let (first, last) = (text[0], text[text.len() - 1]);
            // Radii that are all alike: any width will do, as every share is the same.
            let width = ((last - first) / cells as f64).max(1e-6 * first).max(f64::from(f32::MIN_POSITIVE));
            tables.start.push(first as f32);
            tables.width.push(width as f32);
            let mut highest = 0.0_f32;
            for cell in 0..=cells {
                let value = quantile(&image, share(&text, first + width * cell as f64)) as f32;
                highest = highest.max(value);
                tables.values.push(highest);
            }
        }
        tables
    }

    /// `T_k(radius)`.
    #[inline]
    pub fn apply(&self, block: usize, radius: f32) -> f32 {
        let values = &self.values[block * (self.cells + 1)..(block + 1) * (self.cells + 1)];
        let start = self.start[block];
        let place = (radius - start) / self.width[block];
        if place <= 0.0 {
            return radius * (values[0] / start);
        }
        if place >= self.cells as f32 {
            return radius * (values[self.cells] / (start + self.width[block] * self.cells as f32));
        }
        let cell = (place as usize).min(self.cells - 1);
        let rest = place - cell as f32;
        values[cell] + (values[cell + 1] - values[cell]) * rest
    }

    /// The module on a device.
    pub fn init(&self, device: &Device) -> RadialMap {
        let blocks = self.start.len();
        RadialMap {
            start: record::constant(self.start.clone(), [blocks], device),
            width: record::constant(self.width.clone(), [blocks], device),
            values: record::constant(
                transposed(&self.values, self.cells + 1),
                [self.cells + 1, blocks],
                device,
            ),
        }
    }
}

impl RadialMap {
    /// `T_k(rho_k)` for radii `[n, m]`.
    pub fn forward(&self, radius: Tensor<2>) -> Tensor<2> {
        let dtype = radius.dtype();
        let start: Tensor<2> = record::value(&self.start, dtype).unsqueeze();
        let width: Tensor<2> = record::value(&self.width, dtype).unsqueeze();
        let values = record::value(&self.values, dtype);
        let cells = values.dims()[0] - 1;
        let place = (radius.clone() - start.clone()) / width.clone();
        let cell = place.clone().floor().clamp(0.0, (cells - 1) as f64);
        let rest = place.clone() - cell.clone();
        let index = cell.int();
        let low = values.clone().gather(0, index.clone());
        let high = values.clone().gather(0, index + 1);
        let within = low.clone() + (high - low) * rest;
        let first = values.clone().narrow(0, 0, 1) / start.clone();
        let last = values.narrow(0, cells, 1) / (start + width * cells as f64);
        let below = place.clone().lower_equal_elem(0.0);
        let above = place.greater_equal_elem(cells as f64);
        within.mask_where(below, radius.clone() * first).mask_where(above, radius * last)
    }

    /// The tables on the host.
    pub fn tables(&self) -> RadialTables {
        RadialTables {
            start: record::host(&self.start),
            width: record::host(&self.width),
            values: transposed(&record::host(&self.values), self.blocks()),
            cells: self.values.dims()[0] - 1,
        }
    }

    /// The number of blocks.
    pub fn blocks(&self) -> usize {
        self.start.dims()[0]
    }

    pub fn from_stored(stored: &mut Stored, device: &Device) -> Result<Self> {
        let (start, [blocks]) = stored.take("radial.start", device)?;
        let width = stored.take_shaped("radial.width", [blocks], device)?;
        let (values, [ends, columns]) = stored.take("radial.values", device)?;
        if columns != blocks || ends < 2 {
            let detail =
                format!("radial.values: expected shape [at least 2, {blocks}], found [{ends}, {columns}]");
            return Err(stored.error(detail));
        }
        Ok(Self { start, width, values })
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::random::seeded_rng;

    /// Lengths of points of the plane, about a centre.
    fn radii(n: usize, seed: u64, centre: f64) -> Vec<f64> {
        let mut rng = seeded_rng(seed, &[]);
        let mut coordinate = || rng.random::<f64>() + rng.random::<f64>() - 1.0;
        (0..n * 3).map(|_| (coordinate() + centre).hypot(0.4 * coordinate())).collect()
    }

    #[test]
    fn the_map_never_falls_and_is_the_same_in_tensors() {
        let (text, image) = (radii(500, 1, 0.0), radii(300, 2, 0.5));
        let tables = RadialTables::fit(&text, &image, 3, 40);
        let grid: Vec<f32> = (1..=400).map(|step| step as f32 / 300.0).collect();
        let device = Device::default();
        let rows: Vec<f32> = grid.iter().flat_map(|&r| [r, r, r]).collect();
        let rows = Tensor::<2>::from_data(burn::tensor::TensorData::new(rows, [grid.len(), 3]), &device);
        let mapped: Vec<f32> = tables.init(&device).forward(rows).into_data().try_into_vec().unwrap();
        for block in 0..3 {
            let host: Vec<f32> = grid.iter().map(|&radius| tables.apply(block, radius)).collect();
            assert!(host.is_sorted(), "block {block}");
            for (at, value) in host.iter().enumerate() {
                assert!((value - mapped[at * 3 + block]).abs() <= 2e-6, "{value} {}", mapped[at * 3 + block]);
            }
        }
    }

    #[test]
    fn the_texts_radii_get_the_distribution_of_the_images() {
        let (text, image) = (radii(4000, 3, 0.0), radii(3000, 4, 0.5));
        let tables = RadialTables::fit(&text, &image, 3, 256);
        for block in 0..3 {
            let column =
                |radii: &[f64]| -> Vec<f64> { radii.iter().skip(block).step_by(3).copied().collect() };
            let mut image = column(&image);
            image.sort_by(f64::total_cmp);
            let moved = column(&text).into_iter().map(|r| f64::from(tables.apply(block, r as f32)));
            let mut moved: Vec<f64> = moved.collect();
            moved.sort_by(f64::total_cmp);
            // The Kolmogorov distance: a cell of the table is a 256th of the range.
            let worst = moved
                .iter()
                .enumerate()
                .map(|(at, &value)| (share(&image, value) - (at as f64 + 0.5) / moved.len() as f64).abs());
            let worst = worst.fold(0.0, f64::max);
            assert!(worst < 0.02, "block {block}: {worst}");
        }
    }

    #[test]
    fn radii_that_are_all_alike_become_the_median() {
        let tables = RadialTables::fit(&[0.5; 10], &[0.1, 0.2, 0.3], 1, 8);
        assert!((tables.apply(0, 0.5) - 0.2).abs() < 1e-6);
    }
}
