//! Published weights: the files that hold them, and the arrays in these.

pub(crate) mod array;
pub(crate) mod torch;
