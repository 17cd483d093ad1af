use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};

use crate::device::function_dtype;
use crate::fused;

/// Scales the gradients of a module so that their Euclidean norm, over all of them together, is at most `max_norm`, as PyTorch's
/// `clip_grad_norm_` does: both stages clip so. Burn's `GradientClipping` clips each tensor by its own norm.
///
/// # Returns
///
/// The gradients, and the norm that they had. Where it is not finite, some gradient is not, and they are as they were.
///
/// # Example
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::optim::GradientsParams;
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::training::clip_by_global_norm;
///
/// let device = Device::default().autodiff();
/// let layer = LinearConfig::new(4, 2).with_bias(false).init(&device);
/// let loss = layer.forward(Tensor::<2>::ones([3, 4], &device)).sum();
/// let grads = GradientsParams::from_grads(loss.backward(), &layer);
/// let (grads, norm) = clip_by_global_norm(&layer, grads, 1.0);
/// assert!((norm - 72f64.sqrt()).abs() < 1e-5); // eight gradients of 3
/// let (_, norm) = clip_by_global_norm(&layer, grads, 1.0);
/// assert!((norm - 1.0).abs() < 1e-5);
/// ```
pub fn clip_by_global_norm<M: Module>(
    module: &M,
    grads: GradientsParams,
    max_norm: f64,
) -> (GradientsParams, f64) {
    let norm = global_norm(module, &grads);
    (scaled_to(module, grads, norm, max_norm), norm)
}

/// Gradients of this norm, scaled so that it is at most `max_norm`.
pub(super) fn scaled_to<M: Module>(
    module: &M,
    grads: GradientsParams,
    norm: f64,
    max_norm: f64,
) -> GradientsParams {
    if !norm.is_finite() || norm <= max_norm {
        return grads;
    }
    let mut scaler = Scale { grads, factor: max_norm / (norm + 1e-6) };
    module.visit(&mut scaler);
    scaler.grads
}

/// As [`scaled_to`], of the sum of the gradients' squares, which is not read.
pub(super) fn scaled_on_device<M: Module>(
    module: &M,
    grads: GradientsParams,
    squares: Tensor<1>,
    max_norm: f64,
) -> GradientsParams {
    let mut scaler = ScaleOnDevice { grads, factor: clipping_factor(squares, max_norm) };
    module.visit(&mut scaler);
    scaler.grads
}

/// What gradients are multiplied by so that their norm is at most `max_norm`, `[1]`, of the sum of their squares. It is
/// computed on the device, with the digits of the host where the device has them.
fn clipping_factor(squares: Tensor<1>, max_norm: f64) -> Tensor<1> {
    let dtype = function_dtype(DType::F64, &squares.device());
    let norm = squares.cast(dtype).sqrt();
    let is_short = norm.clone().lower_equal_scalar(max_norm);
    (norm.full_like(max_norm) / norm.add_scalar(1e-6)).mask_fill(is_short, 1.0)
}

/// The Euclidean norm over all gradients of `module`; NaN or infinite if any of them is.
pub(super) fn global_norm<M: Module>(module: &M, grads: &GradientsParams) -> f64 {
    sum_of_squares(module, grads).map_or(0.0, |squares| squares.into_scalar::<f64>().sqrt())
}

/// The sum of the squares of all gradients of `module`, `[1]`, where there are any.
pub(super) fn sum_of_squares<M: Module>(module: &M, grads: &GradientsParams) -> Option<Tensor<1>> {
    let mut squares = SquaredNorms { grads, sums: Vec::new() };
    module.visit(&mut squares);
    (!squares.sums.is_empty()).then(|| Tensor::cat(squares.sums, 0).sum())
}

struct SquaredNorms<'a> {
    grads: &'a GradientsParams,
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for SquaredNorms<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            self.sums.push(fused::sum_of_squares(&grad));
        }
    }
}

struct Scale {
    grads: GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            self.grads.register(param.id, fused::scaled(grad, self.factor));
        }
    }
}

struct ScaleOnDevice {
    grads: GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for ScaleOnDevice {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            let factor = self.factor.clone().cast(grad.dtype()).reshape([1; D]);
            self.grads.register(param.id, grad * factor);
        }
    }
}
