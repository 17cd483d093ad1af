//! What examples share: tables, drawings and pages of what they found, and settings that can be changed by name.
//!
//! Not every example uses everything.
#![allow(dead_code)]

use std::io::Write as _;
use std::path::Path;

pub mod charts;
pub mod html;
pub mod records;
pub mod settings;
pub mod table;

/// Writes a file, which is there whole or not at all, in a folder that need not be there yet.
pub fn write(path: &Path, bytes: &[u8]) -> burn_revision::Result<()> {
    burn_revision::atomic::write(path, |file| file.write_all(bytes))
}
