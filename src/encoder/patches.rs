use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

/// The embeddings of patches that lie side by side, `[n, patches, width]`: a convolution whose stride is its kernel is a
/// product with the patches as rows.
pub(super) fn patches(embedding: &Conv2d, pixels: Tensor<4>) -> Tensor<3> {
    let [n, channels, height, width] = pixels.dims();
    let weight = embedding.weight.val();
    let [out, _, side, _] = weight.dims();
    let (rows, columns) = (height / side, width / side);
    // Pixels beyond the last whole patch are left out, as by the convolution.
    let pixels = pixels.narrow(2, 0, rows * side).narrow(3, 0, columns * side);
    let pixels = pixels.reshape([n, channels, rows, side, columns, side]).permute([0, 2, 4, 1, 3, 5]);
    let pixels = pixels.reshape([n * rows * columns, channels * side * side]);
    let patches = pixels.matmul(weight.reshape([out, channels * side * side]).transpose());
    let patches = match &embedding.bias {
        Some(bias) => patches + bias.val().unsqueeze(),
        None => patches,
    };
    patches.reshape([n, rows * columns, out])
}
