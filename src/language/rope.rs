use burn::tensor::{DType, Device, Tensor, TensorData};

/// Rotary position embedding in the rotate-half layout of Hugging Face's LLaMA models: coordinate `i` of a head
/// turns together with coordinate `i + head_dim / 2`.
///
/// Source: RoFormer (arXiv 2104.09864, Sec. 3.2); the layout is that of the published LLaMA checkpoints.
#[derive(Clone, Debug)]
pub struct RotaryAngles {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl RotaryAngles {
    /// The angles of `len` positions from `start` on, `position * theta^(-2 i / head_dim)`.
    ///
    /// They are computed in float64 and rounded once to `dtype`.
    pub fn new(start: usize, len: usize, head_dim: usize, theta: f64, dtype: DType, device: &Device) -> Self {
        let half = head_dim / 2;
        let angles = (start..start + len).flat_map(|position| {
            (0..half).map(move |i| position as f64 * theta.powf(-((2 * i) as f64) / head_dim as f64))
        });
        let table = |values: Vec<f64>| {
            Tensor::from_data(
                TensorData::new(values, [1, 1, len, half]).convert_dtype(dtype),
                (device, dtype),
            )
        };
        Self {
            cos: table(angles.clone().map(f64::cos).collect()),
            sin: table(angles.map(f64::sin).collect()),
        }
    }

    /// Turns the heads of queries or keys, `[batch, heads, len, head_dim]`, by their positions.
    pub fn rotate(&self, heads: Tensor<4>) -> Tensor<4> {
        let half = self.cos.dims()[3];
        let first = heads.clone().narrow(3, 0, half);
        let second = heads.narrow(3, half, half);
        let (cos, sin) = (self.cos.clone(), self.sin.clone());
        Tensor::cat(
            vec![first.clone() * cos.clone() - second.clone() * sin.clone(), second * cos + first * sin],
            3,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    fn angles(start: usize, len: usize) -> RotaryAngles {
        RotaryAngles::new(start, len, 8, 10_000.0, DType::F32, &Device::default())
    }

    fn heads(len: usize) -> Tensor<4> {
        Tensor::random([1, 2, len, 8], Distribution::Normal(0.0, 1.0), &Device::default())
    }

    fn distance(a: Tensor<4>, b: Tensor<4>) -> f64 {
        (a - b).abs().max().into_scalar()
    }

    #[test]
    fn turning_keeps_lengths() {
        let x = heads(5);
        let norm = |x: Tensor<4>| (x.clone() * x).sum_dim(3);
        assert!(distance(norm(angles(3, 5).rotate(x.clone())), norm(x)) < 1e-5);
    }

    #[test]
    fn scores_depend_on_the_distance_between_positions_only() {
        let (query, key) = (heads(1), heads(1));
        let score = |q: usize, k: usize| {
            (angles(q, 1).rotate(query.clone()) * angles(k, 1).rotate(key.clone())).sum_dim(3)
        };
        assert!(distance(score(7, 3), score(104, 100)) < 1e-4);
        assert!(distance(score(7, 3), score(8, 3)) > 1e-3);
    }

    #[test]
    fn a_coordinate_turns_with_its_partner_in_the_other_half() {
        let mut unit = [0.0f32; 8];
        unit[1] = 1.0;
        let x = Tensor::<1>::from_floats(unit, &Device::default()).reshape([1, 1, 1, 8]);
        let turned = angles(2, 1).rotate(x).into_data().try_to_vec::<f32>().unwrap();
        let angle = 2.0 * 10_000f64.powf(-2.0 / 8.0);
        assert!((turned[1] as f64 - angle.cos()).abs() < 1e-6);
        assert!((turned[5] as f64 - angle.sin()).abs() < 1e-6);
    }
}
