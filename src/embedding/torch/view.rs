//! A tensor whose values all lie in its storage.

use super::values::{Storage, Tensor};

/// As many as PyTorch's own loops go through.
const MAX_DIMS: usize = 64;

/// A view of a storage; all its values lie within.
pub(crate) struct View {
    pub(crate) shape: Vec<usize>,
    /// The first value.
    pub(crate) offset: u64,
    pub(crate) strides: Vec<u64>,
    /// The number of values from the first to the last in the storage.
    pub(crate) reach: u64,
}

impl View {
    /// The view that a pickle describes.
    ///
    /// # Errors
    ///
    /// What is wrong, where it cannot be.
    pub(crate) fn of(tensor: &Tensor) -> Result<Self, String> {
        let Tensor { storage, offset, shape, strides } = tensor;
        let Storage { key, count: stored, .. } = &**storage;
        if shape.len() != strides.len() || shape.len() > MAX_DIMS {
            return Err(format!(
                "expected as many strides as dimensions and at most {MAX_DIMS}, found {} and {}",
                strides.len(),
                shape.len()
            ));
        }
        let found =
            || format!("shape {shape:?}, strides {strides:?}, offset {offset} in storage {key} of {stored}");
        let sizes: Result<Vec<usize>, _> = shape.iter().map(|size| usize::try_from(*size)).collect();
        let steps: Result<Vec<u64>, _> = strides.iter().map(|stride| u64::try_from(*stride)).collect();
        let (Ok(sizes), Ok(steps), Ok(offset), Ok(stored)) =
            (sizes, steps, u64::try_from(*offset), u64::try_from(*stored))
        else {
            return Err(format!("expected no negative numbers, found {}", found()));
        };
        // A view that shows values several times (`expand`) would make much out of little.
        match count(&sizes) {
            Some(values) if values as u64 <= stored => {}
            _ => return Err(format!("expected no more values than the storage has, found {}", found())),
        }
        match reach(&sizes, &steps) {
            Some(reach) if offset.checked_add(reach).is_some_and(|end| end <= stored) => {
                Ok(Self { shape: sizes, offset, strides: steps, reach })
            }
            _ => Err(format!("expected values within the storage, found {}", found())),
        }
    }

    /// Puts values in order that lie as in the storage from [`View::offset`] on.
    pub(crate) fn gather(&self, stored: Vec<f32>) -> Vec<f32> {
        if stored.is_empty() || self.is_contiguous() {
            return stored;
        }
        let count = self.shape.iter().product();
        let mut values = Vec::with_capacity(count);
        let mut index = vec![0; self.shape.len()];
        let mut at = 0;
        for _ in 0..count {
            values.push(stored[at as usize]);
            // Counts up like an odometer, the last dimension first.
            for dim in (0..index.len()).rev() {
                index[dim] += 1;
                at += self.strides[dim];
                if index[dim] < self.shape[dim] {
                    break;
                }
                at -= self.strides[dim] * self.shape[dim] as u64;
                index[dim] = 0;
            }
        }
        values
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(size, stride)| {
            // Along a single value no step is ever taken.
            let fits = *size == 1 || *stride == expected;
            expected *= *size as u64;
            fits
        })
    }
}

/// The number of values from the first to the last in the storage; `None` beyond 64 bits.
fn reach(shape: &[usize], strides: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    let mut steps = shape.iter().zip(strides).map(|(size, stride)| (*size as u64 - 1).checked_mul(*stride));
    steps.try_fold(0_u64, |sum, step| sum.checked_add(step?))?.checked_add(1)
}

/// The number of values of a shape, where 64 bits and the machine can count them and their bytes.
pub(crate) fn count(shape: &[usize]) -> Option<usize> {
    let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size))?;
    count.checked_mul(8).map(|_| count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_beyond_the_machine_have_no_count() {
        assert_eq!(count(&[]), Some(1));
        assert_eq!(count(&[3, 0, 7]), Some(0));
        assert_eq!(count(&[1 << 40, 1 << 40]), None);
        assert_eq!(count(&[1 << 62]), None);
    }
}
