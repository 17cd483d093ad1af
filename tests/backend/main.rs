//! One suite for every backend: what each part of the crate computes on a device, against flex and float64.
//!
//! The device is the one that `BURN_DEVICE` names, or the best that is compiled in:
//!
//! ```text
//! cargo xtask backends                                            # what this machine has, as a matrix
//! BURN_DEVICE=wgpu cargo test --features wgpu --test backend      # one backend
//! ```
//!
//! How far a result may be off is one table, [`agreement::tolerance`].

mod agreement;
mod alignment;
mod decoder;
mod generation;
mod moments;
mod precision;
mod projector;
mod records;
mod splice;
#[path = "../tiny/mod.rs"]
mod tiny;
mod training;
