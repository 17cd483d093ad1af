//! Contrastive encoders, which produce the embeddings and with them the modality gap.
//!
//! # Published encoders
//!
//! [`PretrainedEncoder`] reads CLIP, SigLIP and their kin as they are published. [`Clip`] and [`Siglip`] are Burn modules with
//! their names and sizes, made by [`ClipConfig`] and [`SiglipConfig`]. With the feature `image`, `decode_picture` and
//! `PictureProcessor` lead from the bytes of a file to pixels, and `embed_pictures` from folders, lists and archives of
//! pictures to rows; [`embed_texts`] does so for texts.
//!
//! # Two towers of your own
//!
//! [`Bert`], a sentence encoder, and [`EfficientNetLite`] have no common space. [`ContrastTraining`] trains two small heads on
//! their features, [`ContrastiveHeads`], and a [`HeadsFolder`] is opened like any other encoder.
//!
//! # A small one to train
//!
//! An image tower and a text tower are trained on pairs with the [`InfoNceLoss`]. The towers have no common weights, the
//! embeddings lie on the unit sphere, and the loss depends on dot products only: these are the three causes of the gap
//! that arXiv 2602.07026, App. A, gives.
//!
//! [`Pair`]s form a [`PairDataset`], [`DualEncoderTraining`] trains a [`DualEncoder`] on it, and [`recall_at_k`] measures
//! retrieval on held-out pairs. A [`GapTracker`] measures the gap while an encoder is trained.

mod bert;
mod clip;
mod dual_encoder;
mod dual_folder;
mod efficientnet;
mod embed;
mod gradients;
mod heads;
mod image_tower;
mod info_nce;
mod logit_scale;
mod pairs;
mod patches;
#[cfg(feature = "image")]
mod picture;
mod pretrained;
mod retrieval;
mod siglip;
#[cfg(test)]
mod testing;
mod text_tower;
mod tracked;
mod tracker;
mod training;
mod transformer;

pub use bert::{Bert, BertConfig, Pooling};
pub use clip::{Clip, ClipConfig, ClipText, ClipTextConfig, ClipVision, ClipVisionConfig};
pub use dual_encoder::{DualEncoder, DualEncoderConfig};
pub use efficientnet::{EfficientNetLite, EfficientNetLiteConfig};
#[cfg(feature = "image")]
pub use embed::{BadPictures, PictureList, PicturePlace, PictureRows, embed_pictures};
pub use embed::{EmbedOptions, EmbedReport, Item, TextList, embed_texts, join_shards};
pub use heads::{
    ContrastTraining, ContrastWatch, Contrasted, ContrastiveHeads, ContrastiveHeadsConfig, EpochRecord,
    FeaturePairs, Head, HeadConfig, HeadsFolder, TowerReference,
};
pub use image_tower::ImageTowerConfig;
pub use info_nce::InfoNceLoss;
pub use logit_scale::LogitScaleConfig;
pub(crate) use pairs::PairBatch;
pub use pairs::{Pair, PairDataset};
#[cfg(feature = "image")]
pub use picture::{MAX_PIXELS, PictureProcessor, decode_picture};
pub use pretrained::{EncoderRecord, ImageEncoder, PretrainedEncoder, TextEncoder, TextTokenizer};
pub use retrieval::{RecallAtK, recall_at_k};
pub use siglip::{Siglip, SiglipConfig, SiglipText, SiglipTextConfig, SiglipVision, SiglipVisionConfig};
pub use text_tower::TextTowerConfig;
pub use tracker::{GapRecord, GapTracker, GapTrackerConfig};
pub use training::DualEncoderTraining;
pub use transformer::Activation;
