//! The functions against the library, in one program: each links DataFusion, which takes a while.

mod cluster;
mod common;
mod passes;
mod refusing;
