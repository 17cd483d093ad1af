use std::path::Path;

use super::TextList;
use super::shards::{EmbedOptions, EmbedReport, ShardFolder, ShardNote, fingerprint};
use crate::embedding::check_cancelled;
use crate::encoder::TextEncoder;
use crate::{Error, Result};

/// Embeds texts into a folder of `.npy` shards with their records beside them: rows of unit length, float32.
///
/// # Errors
///
/// [`Error::Config`] for a folder with another job and for settings of zero; [`Error::Sample`] for a text without words;
/// [`Error::Interrupted`] where the observer asks to stop, what is complete being kept; [`Error::Io`] where a file cannot
/// be written.
pub fn embed_texts(
    encoder: &TextEncoder,
    texts: &TextList,
    folder: &Path,
    options: &EmbedOptions<'_>,
) -> Result<EmbedReport> {
    let items = texts.items();
    let of = fingerprint(items.iter().map(|item| (item.id.as_str(), item.content.clone(), &item.record)));
    let identity = [("encoder", encoder.fingerprint().to_string()), ("texts", of)];
    let shards = ShardFolder::begin(folder, items.len(), &identity, options)?;
    let mut report = EmbedReport { items: items.len(), ..EmbedReport::default() };
    options.progress.begin("texts", items.len());
    for shard in shards.shards() {
        let range = shards.items(shard);
        if let Some(note) = shards.done(shard) {
            report.resumed += range.len();
            report.rows += note.rows;
            report.truncated += note.truncated;
            options.progress.advance(range.len());
            continue;
        }
        let (mut rows, mut note) = (Vec::with_capacity(range.len() * encoder.dim()), ShardNote::default());
        for batch in items[range.clone()].chunks(options.batch_size) {
            check_cancelled(options.progress)?;
            if let Some(item) = batch.iter().find(|item| item.content.trim().is_empty()) {
                return Err(Error::sample(&item.id, "a text without words"));
            }
            let texts: Vec<&str> = batch.iter().map(|item| item.content.as_str()).collect();
            let (embedded, truncated) =
                if options.raw { encoder.features(&texts)? } else { encoder.embed(&texts)? };
            rows.extend(embedded);
            note.truncated += truncated;
            options.progress.advance(batch.len());
        }
        note.rows = range.len();
        let records = items[range].iter().map(|item| (item.id.clone(), item.record.clone())).collect();
        shards.write(shard, encoder.dim(), rows, records, &note)?;
        report.rows += note.rows;
        report.truncated += note.truncated;
    }
    Ok(report)
}
