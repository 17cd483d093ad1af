//! Pickles of Python, read without executing anything.
//!
//! A pickle is a program for a small stack machine, and in Python loading one can run any code. The machine here has
//! a stack and a memo like Python's, but no opcode of it calls anything: what becomes of numbers, text, containers and
//! calls is up to a [`Builder`], which knows only what one kind of file needs. Whatever else a file asks for is an
//! error that names the opcode and the byte at which it stands.
//!
//! ```text
//! source    the file through a window, with its length as the limit of every claim
//! fault     why reading stopped
//! opcode    the opcodes and their names
//! literals  text and numbers, read again where they stand
//! stack     the stack, its marks and the memo
//! builder   what a kind of file makes of the objects of its pickle
//! machine   the loop over the opcodes
//! ```
//!
//! Source: `Lib/pickletools.py` of CPython, protocols 2 to 5.

mod builder;
mod fault;
pub(crate) mod literals;
mod machine;
pub(crate) mod opcode;
mod source;
mod stack;

pub(crate) use builder::{Builder, Limits, pairs};
pub(crate) use fault::Fault;
pub(crate) use machine::{read, read_first};
pub(crate) use source::Source;
