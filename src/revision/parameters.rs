use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamGroup};
use burn::tensor::{DType, Device, GradientCheckpointingStrategy, Int, Tensor};

use crate::fingerprint::Fingerprint;

/// The first float type below single precision of the parameters of `module` in `group`, where there is one.
pub(super) fn first_half_precision<M: Module>(module: &M, group: ParamGroup) -> Option<DType> {
    float_types(module, group).into_iter().find(|dtype| matches!(dtype, DType::F16 | DType::BF16))
}

/// The number of parameters of `module` in `group`, counted as tensors.
pub(super) fn count_parameters<M: Module>(module: &M, group: ParamGroup) -> usize {
    float_types(module, group).len()
}

/// The float type of each parameter of `module` in `group`.
fn float_types<M: Module>(module: &M, group: ParamGroup) -> Vec<DType> {
    struct Collector {
        path: Vec<String>,
        group: ParamGroup,
        found: Vec<DType>,
    }
    impl ModuleVisitor for Collector {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_string());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.group.matches(&param.id, Some(&self.path.join("."))) {
                self.found.push(param.base().dtype());
            }
        }
    }
    let mut collector = Collector { path: Vec::new(), group, found: Vec::new() };
    module.visit(&mut collector);
    collector.found
}

/// The values of each parameter that a fingerprint is made of.
const VALUES: usize = 16;

/// A number that tells models apart, fine-tuned and merged ones among them: a hash of a few values of every parameter
/// outside `group`, which are read and not computed, so that no device rounds them.
pub(super) fn fingerprint_outside<M: Module>(module: &M, group: ParamGroup) -> String {
    struct Values {
        path: Vec<String>,
        group: ParamGroup,
        hash: Fingerprint,
    }
    impl ModuleVisitor for Values {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_string());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.group.matches(&param.id, Some(&self.path.join("."))) {
                return;
            }
            let weight = param.base().without_autodiff();
            let size = weight.dims().iter().product::<usize>();
            let wanted = size.min(VALUES);
            if wanted == 0 {
                return;
            }
            // Spread over the whole parameter.
            let places: Vec<i64> = (0..wanted).map(|value| (value * size / wanted) as i64).collect();
            let places = Tensor::<1, Int>::from_data(places.as_slice(), &weight.device());
            let values = weight.reshape([size]).select(0, places).cast(DType::F32).into_data();
            values.iter::<f32>().for_each(|value| self.hash.add(&value.to_le_bytes()));
        }
    }
    let mut values = Values { path: Vec::new(), group, hash: Fingerprint::new() };
    module.visit(&mut values);
    values.hash.finish()
}

/// Forks a module onto a device with autodiff, and computes gradients there as the device says: weights keep the gradient
/// checkpointing that they had, and an operation on tensors that differ in it panics.
pub(super) fn fork_for_training<M: Module>(module: M, device: &Device) -> M {
    struct Follow(GradientCheckpointingStrategy);
    impl ModuleMapper for Follow {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.with_gradient_checkpointing_strategy(self.0))
        }
    }
    let module = module.fork(device);
    match device.gradient_checkpointing_strategy() {
        Some(strategy) => module.map(&mut Follow(strategy)),
        None => module,
    }
}
