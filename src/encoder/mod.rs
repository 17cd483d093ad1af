//! Contrastive dual encoders: the models that make the embeddings, and with them the modality gap.
//!
//! An image tower and a text tower are trained to agree on pairs by InfoNCE. The towers share nothing but the
//! loss, the embeddings lie on the unit sphere, and only dot products are compared: those are the three causes
//! of the gap that arXiv 2602.07026, App. A, names. Nothing here adds an offset to an embedding; the gap
//! between the two clouds is what the training leaves.
//!
//! The way of the data: [`Pair`]s make a [`PairDataset`], which deals out [`PairBatch`]es,
//! [`DualEncoderTraining`] trains a [`DualEncoder`] on them, and [`recall_at_k`] tells on held-out pairs how
//! well picture and text find each other. A [`GapTracker`] follows the gap while an encoder is trained.

mod dual_encoder;
mod image_tower;
mod info_nce;
mod logit_scale;
mod pairs;
mod retrieval;
mod text_tower;
mod tracked;
mod tracker;
mod training;

pub use dual_encoder::{DualEncoder, DualEncoderConfig};
pub use image_tower::{ImageTower, ImageTowerConfig};
pub use info_nce::InfoNceLoss;
pub use logit_scale::{LogitScale, LogitScaleConfig};
pub use pairs::{Pair, PairBatch, PairDataset};
pub use retrieval::{RecallAtK, recall_at_k};
pub use text_tower::{TextTower, TextTowerConfig};
pub use tracker::{GapRecord, GapTracker, GapTrackerConfig, info_nce_gradients};
pub use training::DualEncoderTraining;
