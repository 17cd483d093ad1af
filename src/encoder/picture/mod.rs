//! Pictures, from the bytes of a file to the pixels that a tower takes.

mod decode;
mod processor;
#[cfg(test)]
mod tests;

pub use decode::{MAX_PIXELS, decode_picture};
pub use processor::PictureProcessor;
