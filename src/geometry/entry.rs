use crate::Result;
use crate::embedding::kernel::Lane;
use crate::embedding::{NonFinite, Row, inspect};

/// How rows enter the sums.
#[derive(Clone, Copy)]
pub(super) enum Entry<'a> {
    AsTheyAre,
    /// Scaled to unit length under a policy; `first` is the number of the first row, for errors.
    Unit {
        policy: NonFinite,
        what: &'a str,
        first: usize,
    },
}

impl Entry<'_> {
    /// A row as it enters; nothing where the policy leaves it out.
    pub fn row<'r, T: Lane>(&self, values: &'r [T], number: usize) -> Result<Option<Row<'r, T>>> {
        match *self {
            Self::AsTheyAre => Ok(Some(Row { values: values.into(), inverse_norm: 1.0, zeroed: false })),
            Self::Unit { policy, what, first } => inspect(values, policy, what, first + number),
        }
    }
}
