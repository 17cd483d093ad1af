use std::collections::HashMap;
use std::path::Path;

use super::keys::{Part, Place};
use crate::embedding::torch::count;
use crate::weights::array::{ArrayView, NamedArray};
use crate::{Error, Result};

/// One affine map of a projector, `y = W x + b`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProjectorLayer {
    output: usize,
    input: usize,
    /// Row-major `[out, in]` as in PyTorch; Burn's `Linear` has it the other way round.
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl ProjectorLayer {
    /// A layer from `weight`, row-major of the shape `[out, in]`, and `bias`, of the shape `[out]`.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where the lengths are not those of the shape, [`Error::Config`] for a width of zero.
    pub(crate) fn new([output, input]: [usize; 2], weight: Vec<f32>, bias: Vec<f32>) -> Result<Self> {
        if output == 0 || input == 0 {
            return Err(Error::config(
                "projector",
                format!("expected a weight with rows and columns, found {output}x{input}"),
            ));
        }
        if count(&[output, input]) != Some(weight.len()) {
            let what = format!("values in a weight of {output}x{input}");
            return Err(Error::mismatch(what, output.saturating_mul(input), weight.len()));
        }
        if bias.len() != output {
            return Err(Error::mismatch("values in the bias of a layer", output, bias.len()));
        }
        Ok(Self { output, input, weight, bias })
    }

    /// The width of the input.
    pub(crate) fn input(&self) -> usize {
        self.input
    }

    /// The width of the output.
    pub(crate) fn output(&self) -> usize {
        self.output
    }

    /// Weight and bias.
    pub(crate) fn into_parts(self) -> (Vec<f32>, Vec<f32>) {
        (self.weight, self.bias)
    }
}

/// The affine maps of a projector in the order in which they are applied, with GELU between them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProjectorArrays {
    pub(super) layers: Vec<ProjectorLayer>,
}

impl ProjectorArrays {
    /// A projector of these layers.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where there is none, [`Error::Mismatch`] where the input of one is not as wide as the
    /// output of the one before it.
    pub(crate) fn new(layers: Vec<ProjectorLayer>) -> Result<Self> {
        if layers.is_empty() {
            return Err(Error::config("projector", "expected at least one layer, found none"));
        }
        for (index, pair) in layers.windows(2).enumerate() {
            if pair[0].output != pair[1].input {
                let what = format!("input width of projector layer {}", index + 1);
                return Err(Error::mismatch(what, pair[0].output, pair[1].input));
            }
        }
        Ok(Self { layers })
    }

    /// Sorts the arrays of the file `path` into layers. Every one must be the weight or the bias of a layer, by one of the
    /// names of [`super::keys`].
    ///
    /// # Errors
    ///
    /// [`Error::Format`] that names file, array and both values: for another name, a name twice, a missing array, or
    /// shapes that do not fit each other.
    pub(crate) fn from_arrays(path: &Path, arrays: Vec<NamedArray>) -> Result<Self> {
        let mut places: HashMap<Place, NamedArray> = HashMap::new();
        for array in arrays {
            let place = Place::of(&array.name).map_err(|detail| wrong(path, &array.name, detail))?;
            if let Some(first) = places.get(&place) {
                return Err(wrong(
                    path,
                    &array.name,
                    format!("expected one {:?}, found {:?} as well", place.bare(), first.name),
                ));
            }
            places.insert(place, array);
        }
        let numbered = places.keys().filter(|place| place.layer.is_some()).count();
        if numbered != 0 && numbered != places.len() {
            let one = places.iter().find(|(place, _)| place.layer.is_none());
            let name = one.map_or("", |(_, array)| &array.name);
            return Err(wrong(path, name, "expected the number of a layer, as others have, found none"));
        }
        let depth = if numbered == 0 { 1 } else { 1 + highest(&places) };
        let mut layers: Vec<(ProjectorLayer, String)> = Vec::new();
        // A gap ends the loop at the first missing layer, whatever the highest number is.
        for layer in 0..depth {
            let layer = (numbered != 0).then_some(layer);
            let weight = take(path, &mut places, Place { layer, part: Part::Weight })?;
            let bias = take(path, &mut places, Place { layer, part: Part::Bias })?;
            let name = weight.name.clone();
            let layer = checked(path, weight, bias)?;
            if let Some((before, before_name)) = layers.last()
                && before.output != layer.input
            {
                return Err(wrong(
                    path,
                    &name,
                    format!(
                        "expected {} columns, the rows of {before_name:?}, found {}",
                        before.output, layer.input
                    ),
                ));
            }
            layers.push((layer, name));
        }
        Self::new(layers.into_iter().map(|(layer, _)| layer).collect())
    }

    /// The layers.
    pub(crate) fn into_layers(self) -> Vec<ProjectorLayer> {
        self.layers
    }

    /// The width of the embeddings that enter.
    pub(crate) fn input(&self) -> usize {
        self.layers[0].input
    }

    /// The width of the embeddings that leave.
    pub(crate) fn output(&self) -> usize {
        self.layers[self.layers.len() - 1].output
    }

    /// All arrays under LLaVA's names.
    pub(super) fn named(&self) -> Vec<ArrayView<'_>> {
        self.placed().map(|(place, shape, values)| ArrayView { name: place.key(), shape, values }).collect()
    }

    /// The place, shape and values of all arrays.
    pub(super) fn placed(&self) -> impl Iterator<Item = (Place, Vec<usize>, &[f32])> {
        let single = self.layers.len() == 1;
        self.layers.iter().enumerate().flat_map(move |(index, layer)| {
            let place = |part| Place { layer: (!single).then_some(index), part };
            let ProjectorLayer { output, input, weight, bias } = layer;
            [
                (place(Part::Weight), vec![*output, *input], weight.as_slice()),
                (place(Part::Bias), vec![*output], bias.as_slice()),
            ]
        })
    }
}

fn wrong(path: &Path, name: &str, detail: impl std::fmt::Display) -> Error {
    Error::format(path, format!("{name:?}: {detail}"))
}

fn highest(places: &HashMap<Place, NamedArray>) -> usize {
    places.keys().filter_map(|place| place.layer).max().unwrap_or(0)
}

fn take(path: &Path, places: &mut HashMap<Place, NamedArray>, place: Place) -> Result<NamedArray> {
    if let Some(array) = places.remove(&place) {
        return Ok(array);
    }
    let mut others: Vec<&str> = places.values().map(|array| array.name.as_str()).collect();
    others.sort_unstable();
    Err(wrong(path, &place.key(), format!("expected in the file, found none; not yet used: {others:?}")))
}

/// What is left of a weight in a checkpoint that was saved by one process of many.
const PARTITIONED: &str = "found no values, shape [0], as DeepSpeed ZeRO-3 leaves in place of weights that lie on several \
    devices; run the zero_to_fp32.py that it saved beside the checkpoint, and read the file which that writes";

fn checked(path: &Path, weight: NamedArray, bias: NamedArray) -> Result<ProjectorLayer> {
    for array in [&weight, &bias] {
        if array.shape == [0] {
            return Err(wrong(path, &array.name, PARTITIONED));
        }
    }
    let &[output, input] = weight.shape.as_slice() else {
        return Err(wrong(
            path,
            &weight.name,
            format!("expected a shape [out, in], found {:?}", weight.shape),
        ));
    };
    if output == 0 || input == 0 {
        return Err(wrong(
            path,
            &weight.name,
            format!("expected rows and columns, found {:?}", weight.shape),
        ));
    }
    if bias.shape != [output] {
        let detail =
            format!("expected shape [{output}], the rows of {:?}, found {:?}", weight.name, bias.shape);
        return Err(wrong(path, &bias.name, detail));
    }
    for array in [&weight, &bias] {
        if count(&array.shape) != Some(array.values.len()) {
            let detail =
                format!("expected as many values as shape {:?}, found {}", array.shape, array.values.len());
            return Err(wrong(path, &array.name, detail));
        }
    }
    ProjectorLayer::new([output, input], weight.values, bias.values)
}
