//! AnisoAlign on the host: a few products of large matrices in float32, and one loop over the blocks between them.

use super::AnisoAlign;
use super::networks::HostRefiner;
use super::radial::RadialTables;
use crate::alignment::host_map::{HostMap, UnitMap, project};
use crate::alignment::record;
use crate::embedding::{BLOCK_ROWS, parallel};
use crate::geometry::linalg;

/// Rows of a task.
const ROWS: usize = BLOCK_ROWS;

/// The fitted method on the host.
///
/// `v0` is not needed by itself: `y_V = y - Q c_y` for the coordinates `c_y` of a row, so that the first layer of the
/// refinement sees `v0` through one product with the row and one with its coordinates, and the output is
/// `D y + [c^, c_y] [Q^T; -Q^T D] + const`.
pub(super) struct HostAnisoAlign {
    dim: usize,
    rank: usize,
    eps: f32,
    /// `[d, r + h]`: the frame, and the first layer on the part of `v0` that is linear in the row.
    inward: Vec<f32>,
    /// The coordinates of `mu_x - mu_y`, `[r]`.
    step: Vec<f32>,
    radial: RadialTables,
    refinement: Option<Refinement>,
    /// `[2 r, d]`.
    outward: Vec<f32>,
    /// `D_V`, `[d]`.
    spread: Vec<f32>,
    /// What `v0` is at zero, `[d]`.
    offset: Vec<f32>,
    /// `mu_x - E e'`, `[d]`; zeros before the centroid step.
    shift: Vec<f32>,
}

/// What the bounded refinement needs.
struct Refinement {
    phase_bound: f32,
    radius_bound: f32,
    complement_bound: f32,
    /// Means and inverse deviations of the logarithms of radii, `[m]` each.
    log_mean: Vec<f32>,
    log_inverse: Vec<f32>,
    width: usize,
    /// `[3 m + r, h]`: the first layer on sines, cosines, logarithms and coordinates.
    first: Vec<f32>,
    bias: Vec<f32>,
    last: Vec<f32>,
    last_bias: Vec<f32>,
    outputs: usize,
    /// The frame, `[d, r]`, and its transpose, for the correction within `V`.
    frame: [Vec<f32>; 2],
}

impl AnisoAlign {
    /// The map on the host.
    pub(in crate::alignment) fn host_map(&self) -> impl HostMap + use<> {
        let [dim, rank] = self.frame.dims();
        let blocks = rank / 2;
        let frame = record::host(&self.frame);
        let transposed: Vec<f32> =
            (0..rank).flat_map(|column| frame.iter().skip(column).step_by(rank).copied()).collect();
        let (spread, offset) = (record::host(&self.spread), record::host(&self.offset));
        let (text_mean, image_mean) = (record::host(&self.text_mean), record::host(&self.image_mean));
        let bounds = record::host(&self.bounds);
        let scaled =
            transposed.chunks_exact(dim).flat_map(|row| row.iter().zip(&spread).map(|(q, d)| -q * d));
        let scaled: Vec<f32> = scaled.collect();
        let step: Vec<f32> = image_mean.iter().zip(&text_mean).map(|(x, y)| x - y).collect();
        let refines = bounds[..3].iter().any(|&bound| bound > 0.0);
        let mut inward = frame.clone();
        let mut refinement = None;
        if refines {
            let HostRefiner { first, first_bias, last, last_bias } = self.refiner.host();
            let width = first_bias.len();
            // Features of v0 are scaled by sqrt(d).
            let factor = (dim as f32).sqrt();
            let on_v = &first[3 * blocks * width..];
            let on_rows: Vec<f32> = on_v
                .chunks_exact(width)
                .zip(&spread)
                .flat_map(|(row, d)| row.iter().map(move |w| w * d * factor))
                .collect();
            let through = linalg::matmul_single(&transposed, [rank, dim], &on_rows, [dim, width]);
            let scaled_offset: Vec<f32> = offset.iter().map(|value| value * factor).collect();
            let constant = linalg::matmul_single(&scaled_offset, [1, dim], on_v, [dim, width]);
            inward = frame
                .chunks_exact(rank)
                .zip(on_rows.chunks_exact(width))
                .flat_map(|(frame, rows)| frame.iter().chain(rows).copied())
                .collect();
            let log_radius = record::host(&self.log_radius);
            refinement = Some(Refinement {
                phase_bound: bounds[0],
                radius_bound: bounds[1],
                complement_bound: bounds[2],
                log_mean: log_radius[..blocks].to_vec(),
                log_inverse: log_radius[blocks..].iter().map(|deviation| 1.0 / deviation).collect(),
                width,
                first: first[..3 * blocks * width]
                    .iter()
                    .copied()
                    .chain(through.iter().map(|w| -w))
                    .collect(),
                bias: first_bias.iter().zip(constant).map(|(bias, constant)| bias + constant).collect(),
                outputs: last_bias.len(),
                last,
                last_bias,
                frame: [frame.clone(), transposed.clone()],
            });
        }
        let centroid = record::host(&self.centroid);
        HostAnisoAlign {
            dim,
            rank,
            eps: bounds[3],
            inward,
            step: linalg::matmul_single(&step, [1, dim], &frame, [dim, rank]),
            radial: self.radial.tables(),
            refinement,
            outward: [transposed, scaled].concat(),
            spread,
            offset,
            shift: image_mean.iter().zip(centroid).map(|(x, centroid)| x - centroid).collect(),
        }
    }
}

impl HostAnisoAlign {
    /// The unit rows that become of unit rows, `[n, d]` each.
    fn align(&self, rows: &[f32], out: &mut [f32]) {
        let (dim, rank) = (self.dim, self.rank);
        let (n, blocks) = (rows.len() / dim, rank / 2);
        let width = self.refinement.as_ref().map_or(0, |refinement| refinement.width);
        let inward = linalg::matmul_sequential(rows, [n, dim], &self.inward, [dim, rank + width]);

        // Cosines, sines and radii of all blocks, after the radial map.
        let (mut points, mut radii) = (vec![0.0_f32; n * rank], vec![0.0_f32; n * blocks]);
        for (row, inward) in inward.chunks_exact(rank + width).enumerate() {
            let (points, radii) = (&mut points[row * rank..][..rank], &mut radii[row * blocks..][..blocks]);
            for block in 0..blocks {
                let a = inward[block] + self.step[block];
                let b = inward[blocks + block] + self.step[blocks + block];
                let square = a * a + b * b;
                let length = square.sqrt();
                // A radius of zero has the phase 0, as of `atan2`.
                let (cosine, sine) = if length > 0.0 { (a / length, b / length) } else { (1.0, 0.0) };
                (points[block], points[blocks + block]) = (cosine, sine);
                radii[block] = self.radial.apply(block, (square + self.eps).sqrt());
            }
        }
        let within_v = self
            .refinement
            .as_ref()
            .and_then(|refinement| refinement.refine(&inward, &mut points, &mut radii, [n, rank, dim]));

        let mut outward = vec![0.0_f32; n * 2 * rank];
        for row in 0..n {
            let outward = &mut outward[row * 2 * rank..][..2 * rank];
            let (points, radii) = (&points[row * rank..][..rank], &radii[row * blocks..][..blocks]);
            for block in 0..blocks {
                outward[block] = radii[block] * points[block];
                outward[blocks + block] = radii[block] * points[blocks + block];
            }
            outward[rank..].copy_from_slice(&inward[row * (rank + width)..][..rank]);
        }
        let placed = linalg::matmul_sequential(&outward, [n, 2 * rank], &self.outward, [2 * rank, dim]);
        for (row, out) in out.chunks_exact_mut(dim).enumerate() {
            let (rows, placed) = (&rows[row * dim..][..dim], &placed[row * dim..][..dim]);
            for at in 0..dim {
                out[at] = placed[at] + self.spread[at] * rows[at] + self.offset[at];
            }
            if let Some(correction) = &within_v {
                let correction = &correction[row * dim..][..dim];
                out.iter_mut().zip(correction).for_each(|(out, correction)| *out += correction);
            }
            project(out);
            out.iter_mut().zip(&self.shift).for_each(|(out, shift)| *out += shift);
            project(out);
        }
    }
}

impl Refinement {
    /// Turns and stretches the blocks; returns the correction within `V`, `[n, d]`, where there is one.
    fn refine(
        &self,
        inward: &[f32],
        points: &mut [f32],
        radii: &mut [f32],
        [n, rank, dim]: [usize; 3],
    ) -> Option<Vec<f32>> {
        let (blocks, width) = (rank / 2, self.width);
        let inputs = 3 * blocks + rank;
        let mut features = vec![0.0_f32; n * inputs];
        for row in 0..n {
            let features = &mut features[row * inputs..][..inputs];
            let (points, radii) = (&points[row * rank..][..rank], &radii[row * blocks..][..blocks]);
            features[..blocks].copy_from_slice(&points[blocks..]);
            features[blocks..rank].copy_from_slice(&points[..blocks]);
            for block in 0..blocks {
                features[rank + block] = (radii[block].ln() - self.log_mean[block]) * self.log_inverse[block];
            }
            features[3 * blocks..].copy_from_slice(&inward[row * (rank + width)..][..rank]);
        }
        let mut hidden = linalg::matmul_sequential(&features, [n, inputs], &self.first, [inputs, width]);
        for (row, hidden) in hidden.chunks_exact_mut(width).enumerate() {
            let on_rows = &inward[row * (rank + width) + rank..][..width];
            for at in 0..width {
                let value = hidden[at] + on_rows[at] + self.bias[at];
                hidden[at] = value / (1.0 + (-value).exp());
            }
        }
        let outputs = self.outputs;
        let corrections = linalg::matmul_sequential(&hidden, [n, width], &self.last, [width, outputs]);
        for (row, corrections) in corrections.chunks_exact(outputs).enumerate() {
            let (points, radii) = (&mut points[row * rank..][..rank], &mut radii[row * blocks..][..blocks]);
            for block in 0..blocks {
                let turn = corrections[block] + self.last_bias[block];
                let growth = corrections[blocks + block] + self.last_bias[blocks + block];
                let (sine, cosine) = (self.phase_bound * turn.tanh()).sin_cos();
                let (x, y) = (points[block], points[blocks + block]);
                (points[block], points[blocks + block]) = (x * cosine - y * sine, x * sine + y * cosine);
                radii[block] *= (self.radius_bound * growth.tanh()).exp();
            }
        }
        if outputs == rank || self.complement_bound == 0.0 {
            return None;
        }
        let mut correction: Vec<f32> = corrections
            .chunks_exact(outputs)
            .flat_map(|row| row[rank..].iter().zip(&self.last_bias[rank..]).map(|(value, bias)| value + bias))
            .collect();
        let within = linalg::matmul_sequential(&correction, [n, dim], &self.frame[0], [dim, rank]);
        let within = linalg::matmul_sequential(&within, [n, rank], &self.frame[1], [rank, dim]);
        for (value, within) in correction.iter_mut().zip(within) {
            *value = self.complement_bound * (*value - within).tanh();
        }
        Some(correction)
    }
}

impl UnitMap for HostAnisoAlign {
    fn piece_rows(&self) -> usize {
        // A task for each core, of rows enough for the products.
        4 * ROWS
    }

    fn map_unit(&self, rows: &[f32], _: (u64, &[u64]), out: &mut [f32]) {
        let part = ROWS * self.dim;
        parallel::map(rows.chunks(part).zip(out.chunks_mut(part)), |(rows, out)| self.align(rows, out));
    }
}
