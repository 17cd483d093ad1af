//! BERT (arXiv 1810.04805) and RoBERTa (arXiv 1907.11692) as sentence encoders (arXiv 1908.10084): the modules have the
//! names and sizes of Hugging Face's `BertModel` and of the configuration of sentence-transformers.

mod config;
mod model;
mod names;
mod pooling;

pub use config::BertConfig;
pub use model::Bert;
pub(super) use names::BertNames;
pub use pooling::Pooling;
