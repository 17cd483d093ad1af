//! From pictures and texts to rows in a folder of shards: decoding ahead of the device, in bounded memory, resumable.

#[cfg(feature = "image")]
mod iterate;
mod join;
mod list;
#[cfg(feature = "image")]
mod pictures;
mod rows;
mod shards;
#[cfg(all(test, feature = "image"))]
mod tests;
mod texts;

#[cfg(feature = "image")]
pub use iterate::PictureRows;
pub use join::join_shards;
pub use list::{Item, TextList};
#[cfg(feature = "image")]
pub use list::{PictureList, PicturePlace};
#[cfg(feature = "image")]
pub use pictures::{BadPictures, embed_pictures};
pub use shards::{EmbedOptions, EmbedReport};
pub use texts::embed_texts;
