use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::tensor::{DType, Tensor};

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
