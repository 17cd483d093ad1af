//! Operations that reach below Burn's tensors, where a CPU has a better way than a chain of tensor operations.

mod flex;

pub(crate) use flex::is_flex;
