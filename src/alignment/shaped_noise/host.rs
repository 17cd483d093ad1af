//! Shaped noise on the host.

use super::{ShapedNoise, normal};
use crate::alignment::host_map::{HostMap, UnitMap, project, realigned};
use crate::alignment::record;
use crate::embedding::{BLOCK_ROWS, parallel};
use crate::geometry::linalg;

struct HostShapedNoise {
    dim: usize,
    scale: f64,
    shifts: Vec<Vec<f64>>,
    /// `[k, d]`.
    shape: Vec<f32>,
}

impl ShapedNoise {
    /// The map on the host, with its noise.
    pub(in crate::alignment) fn host_map(&self) -> Box<dyn HostMap> {
        let [_, dim] = self.shape.dims();
        let shifts = record::host(&self.shifts);
        Box::new(HostShapedNoise {
            dim,
            scale: record::join(&record::host(&self.scale)),
            shifts: shifts
                .chunks_exact(dim)
                .map(|shift| shift.iter().map(|&value| f64::from(value)).collect())
                .collect(),
            shape: record::host(&self.shape),
        })
    }
}

impl UnitMap for HostShapedNoise {
    fn piece_rows(&self) -> usize {
        4 * BLOCK_ROWS
    }

    fn map_unit(&self, rows: &[f32], (seed, numbers): (u64, &[u64]), out: &mut [f32]) {
        let (dim, directions) = (self.dim, self.shape.len() / self.dim);
        let parts = rows.chunks(BLOCK_ROWS * dim).zip(out.chunks_mut(BLOCK_ROWS * dim));
        parallel::map(parts.zip(numbers.chunks(BLOCK_ROWS)), |((rows, out), numbers)| {
            let normal = normal(seed, numbers, directions);
            let noise = linalg::matmul_sequential(
                &normal,
                [numbers.len(), directions],
                &self.shape,
                [directions, dim],
            );
            let rows = rows.chunks_exact(dim).zip(noise.chunks_exact(dim)).zip(out.chunks_exact_mut(dim));
            for ((row, noise), out) in rows {
                let moved = realigned(row, self.scale, &self.shifts);
                let moved = moved.iter().zip(noise).map(|(moved, noise)| (moved + f64::from(*noise)) as f32);
                out.iter_mut().zip(moved).for_each(|(out, value)| *out = value);
                project(out);
            }
        });
    }
}
