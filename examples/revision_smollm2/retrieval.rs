//! Captions, judged by whether they find their picture: synonyms count here, and words that are right by chance do not.

use std::path::Path;

use burn::tensor::{Device, FloatDType};
use burn_revision::Result;
use burn_revision::embedding::EmbeddingTable;
use burn_revision::encoder::{PretrainedEncoder, TextEncoder};
use burn_revision::revision::Conversation;

/// Texts that go through the encoder together.
const BATCH: usize = 64;

/// The text side of the encoder that made the embeddings, and the pictures to be found.
pub struct Retrieval {
    encoder: TextEncoder,
    /// For each picture, its row.
    pictures: Vec<Vec<f32>>,
    /// For each picture, its caption: pictures of one caption cannot be told apart by it.
    truths: Vec<String>,
}

impl Retrieval {
    /// None where the encoder is not there.
    pub fn open(
        folder: &Path,
        conversations: &[Conversation],
        rows: &EmbeddingTable,
        device: &Device,
    ) -> Result<Option<Self>> {
        if !folder.exists() {
            return Ok(None);
        }
        let encoder = PretrainedEncoder::open(folder)?.text(FloatDType::F32, device)?;
        let id = |conversation: &Conversation| {
            conversation.image.clone().unwrap_or_else(|| conversation.id.clone())
        };
        let pictures = conversations.iter().map(|c| Ok(rows.get(&id(c))?.to_vec()));
        Ok(Some(Self {
            encoder,
            pictures: pictures.collect::<Result<_>>()?,
            truths: conversations.iter().map(|c| truth(c).to_lowercase()).collect(),
        }))
    }

    /// For each picture, how many pictures of other captions are at least as near to the text written for it as the
    /// nearest picture of its own.
    pub fn ranks(&self, captions: &[String]) -> Result<Vec<usize>> {
        let mut ranks = Vec::with_capacity(captions.len());
        for (chunk, own) in captions.chunks(BATCH).zip(self.truths.chunks(BATCH)) {
            // Without a word there is nothing to find a picture by.
            let said = |caption: &str| caption.chars().any(char::is_alphanumeric);
            let texts: Vec<&str> =
                chunk.iter().map(|caption| if said(caption) { caption.trim() } else { "-" }).collect();
            let (rows, _) = self.encoder.embed(&texts)?;
            for ((caption, row), own) in chunk.iter().zip(rows.chunks_exact(self.encoder.dim())).zip(own) {
                let near = self.pictures.iter().map(|picture| dot(row, picture)).zip(&self.truths);
                let near: Vec<(f32, bool)> = near.map(|(near, truth)| (near, truth == own)).collect();
                let best = near.iter().filter(|(_, own)| *own).map(|(near, _)| *near);
                let best =
                    if said(caption) { best.fold(f32::NEG_INFINITY, f32::max) } else { f32::NEG_INFINITY };
                ranks.push(near.iter().filter(|(near, own)| !own && *near >= best).count());
            }
        }
        Ok(ranks)
    }
}

/// The caption of a picture.
pub fn truth(conversation: &Conversation) -> &str {
    conversation.turns.last().map_or("", |turn| turn.value.trim())
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
