//! Where a parameter is in a module, and what it is called where weights are published.

/// What the parameters of a module are called where their weights were published.
pub(crate) trait PublishedNames {
    /// The published name of the parameter at a path such as `layers.0.norm.weight`. The last part is PyTorch's name for
    /// it: the gain and the offset of a norm are `weight` and `bias`.
    fn published(&self, path: &str) -> String;

    /// Whether the weight of this name may be left unread.
    fn is_optional(&self, _name: &str) -> bool {
        false
    }
}

/// Names that are the paths themselves.
pub(crate) struct OwnNames;

impl PublishedNames for OwnNames {
    fn published(&self, path: &str) -> String {
        path.to_string()
    }
}

/// The fields and indices that lead to a parameter, each with the kind of module it belongs to.
#[derive(Default)]
pub(super) struct ModulePath(Vec<(String, String)>);

const LINEAR: &str = "Struct:Linear";
const NORMS: [&str; 5] =
    ["Struct:BatchNorm", "Struct:GroupNorm", "Struct:InstanceNorm", "Struct:LayerNorm", "Struct:RmsNorm"];

impl ModulePath {
    pub(super) fn enter(&mut self, name: &str, container_type: &str) {
        self.0.push((name.to_string(), container_type.to_string()));
    }

    pub(super) fn exit(&mut self) {
        self.0.pop();
    }

    /// The published name of the parameter here.
    pub(super) fn published(&self, names: &impl PublishedNames) -> String {
        let parts: Vec<&str> = self
            .0
            .iter()
            .map(|(name, kind)| match name.as_str() {
                "gamma" if NORMS.contains(&kind.as_str()) => "weight",
                "beta" if NORMS.contains(&kind.as_str()) => "bias",
                name => name,
            })
            .collect();
        names.published(&parts.join("."))
    }

    /// Whether a parameter of `rank` dimensions here is a matrix that PyTorch keeps as `[out, in]` and Burn as `[in, out]`.
    pub(super) fn is_linear(&self, rank: usize) -> bool {
        rank == 2 && self.0.last().is_some_and(|(_, kind)| kind == LINEAR)
    }
}

/// `[rows, columns]` to `[columns, rows]`, in tiles that fit the cache.
pub(super) fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut transposed = vec![0.0; values.len()];
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for row in top..(top + TILE).min(rows) {
                for column in left..(left + TILE).min(columns) {
                    transposed[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    transposed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_changes_nothing() {
        let values: Vec<f32> = (0..70 * 45).map(|value| value as f32).collect();
        let once = transposed(&values, 70, 45);
        assert_eq!(once[1], values[45]);
        assert_eq!(transposed(&once, 45, 70), values);
    }
}
