//! A memory on the host: cosines, softmax and mean as products of large matrices in float32.

use super::{MemoryOf, MemoryProjection};
use crate::alignment::host_map::{HostMap, UnitMap, project, realigned};
use crate::alignment::{Aligner, record};
use crate::embedding::{BLOCK_ROWS, parallel};
use crate::geometry::linalg;

/// Weights that a task holds at once: 16 MiB.
const WEIGHTS: usize = 4 << 20;

/// A memory of images on the host.
struct HostMemory {
    dim: usize,
    /// `[N, d]`.
    memory: Vec<f32>,
    /// `[d, N]`.
    transposed: Vec<f32>,
    temperature: f32,
    step: f32,
    /// The scale and the shifts of ReAlign before it, where there are any.
    realign: Option<(f64, Vec<Vec<f64>>)>,
}

impl MemoryProjection {
    /// What is done to texts, on the host.
    pub(in crate::alignment) fn host_map(&self) -> Box<dyn HostMap> {
        if self.of() == MemoryOf::Texts {
            return Box::new(self.closed_form().expect("texts stay"));
        }
        let [rows, dim] = self.memory.dims();
        let memory = record::host(&self.memory);
        let transposed =
            (0..dim).flat_map(|column| memory.iter().skip(column).step_by(dim).copied()).collect();
        let settings = record::host(&self.settings);
        let shifts: Vec<Vec<f64>> = record::host(&self.shifts)
            .chunks_exact(dim)
            .map(|shift| shift.iter().map(|&value| f64::from(value)).collect())
            .collect();
        debug_assert_eq!(memory.len(), rows * dim);
        Box::new(HostMemory {
            dim,
            memory,
            transposed,
            temperature: settings[0],
            step: settings[1],
            realign: self.realigned().then(|| (record::join(&record::host(&self.scale)), shifts)),
        })
    }
}

impl HostMemory {
    fn align(&self, rows: &[f32], out: &mut [f32]) {
        let (dim, held) = (self.dim, self.memory.len() / self.dim);
        let n = rows.len() / dim;
        out.copy_from_slice(rows);
        if let Some((scale, shifts)) = &self.realign {
            for row in out.chunks_exact_mut(dim) {
                let moved = realigned(row, *scale, shifts);
                row.iter_mut().zip(moved).for_each(|(row, value)| *row = value as f32);
                project(row);
            }
        }
        let mut weights = linalg::matmul_sequential(out, [n, dim], &self.transposed, [dim, held]);
        for weights in weights.chunks_exact_mut(held) {
            let largest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            // The sum of the weights is of no concern: what they give is projected.
            weights.iter_mut().for_each(|weight| *weight = ((*weight - largest) / self.temperature).exp());
        }
        let mut projected = linalg::matmul_sequential(&weights, [n, held], &self.memory, [held, dim]);
        for (out, projected) in out.chunks_exact_mut(dim).zip(projected.chunks_exact_mut(dim)) {
            project(projected);
            let both = out.iter_mut().zip(projected.iter());
            both.for_each(|(out, projected)| *out += self.step * (projected - *out));
            project(out);
        }
    }
}

impl UnitMap for HostMemory {
    fn piece_rows(&self) -> usize {
        4 * BLOCK_ROWS
    }

    fn map_unit(&self, rows: &[f32], _: (u64, &[u64]), out: &mut [f32]) {
        let part = (WEIGHTS / (self.memory.len() / self.dim)).clamp(1, BLOCK_ROWS) * self.dim;
        parallel::map(rows.chunks(part).zip(out.chunks_mut(part)), |(rows, out)| self.align(rows, out));
    }
}
