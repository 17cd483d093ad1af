use burn::tensor::Tensor;

/// Whether a tensor is one of the backend flex, without autodiff.
#[cfg(feature = "flex")]
pub(crate) fn is_flex<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.clone().try_into_primitive::<burn::backend::Flex>().is_ok()
}

/// Whether a tensor is one of the backend flex, which is not compiled in.
#[cfg(not(feature = "flex"))]
pub(crate) fn is_flex<const D: usize>(_: &Tensor<D>) -> bool {
    false
}
