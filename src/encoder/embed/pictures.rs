use std::path::Path;
use std::sync::Mutex;

use super::list::PicturePlace;
use super::shards::{EmbedOptions, EmbedReport, ShardFolder, ShardNote, fingerprint};
use super::{Item, PictureList};
use crate::Result;
use crate::device::is_cpu;
use crate::embedding::{check_cancelled, pipeline};
use crate::encoder::{ImageEncoder, MAX_PIXELS, decode_picture};

/// What becomes of pictures that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadPictures {
    /// The first one ends the job.
    #[default]
    Error,
    /// They are left out, counted and listed.
    Skip,
}

/// A batch on its way: its rows, and its pictures that could not be read.
struct Embedded {
    shard: usize,
    is_last: bool,
    kept: Vec<usize>,
    rows: Vec<f32>,
    bad: Vec<(String, String)>,
}

/// Embeds pictures into a folder of `.npy` shards with their records beside them: rows of unit length, float32.
///
/// Pictures are decoded by all threads ahead of the device. On a CPU each thread computes its own batch, since operations
/// on single values use one core; on an accelerator one batch is computed at a time. No row depends on that. Memory is
/// bounded by a shard of rows and a few batches a thread.
///
/// # Errors
///
/// [`Error::Config`] for a folder with another job and for settings of zero; [`Error::Format`] or [`Error::Io`] naming the
/// picture for one that cannot be read, under [`BadPictures::Error`]; [`Error::Interrupted`] where the observer asks to
/// stop, what is complete being kept; [`Error::Io`] where a file cannot be written.
///
/// [`Error::Config`]: crate::Error::Config
/// [`Error::Format`]: crate::Error::Format
/// [`Error::Interrupted`]: crate::Error::Interrupted
/// [`Error::Io`]: crate::Error::Io
pub fn embed_pictures(
    encoder: &ImageEncoder,
    pictures: &PictureList,
    folder: &Path,
    bad: BadPictures,
    max_pixels: Option<u64>,
    options: &EmbedOptions<'_>,
) -> Result<EmbedReport> {
    let items = pictures.items();
    let max_pixels = max_pixels.unwrap_or(MAX_PIXELS);
    let of =
        fingerprint(items.iter().map(|item| (item.id.as_str(), format!("{:?}", item.content), &item.record)));
    let identity = [
        ("encoder", encoder.fingerprint().to_string()),
        ("pictures", of),
        ("max_pixels", max_pixels.to_string()),
    ];
    let shards = ShardFolder::begin(folder, items.len(), &identity, options)?;
    let mut report = EmbedReport { items: items.len(), ..EmbedReport::default() };
    options.progress.begin("pictures", items.len());

    let mut batches = Vec::new();
    for shard in shards.shards() {
        let range = shards.items(shard);
        if let Some(note) = shards.done(shard) {
            report.resumed += range.len();
            report.rows += note.rows;
            report.bad.extend(note.bad);
            options.progress.advance(range.len());
            continue;
        }
        let starts = range.clone().step_by(options.batch_size);
        batches.extend(
            starts.map(|start| (shard, start..(start + options.batch_size).min(range.end), range.end)),
        );
    }

    let mut batches = batches.into_iter();
    let device = Mutex::new(());
    let one_at_a_time = !is_cpu(encoder.device());
    let mut current = (Vec::new(), Vec::new(), ShardNote::default());
    pipeline::run(
        options.threads.unwrap_or_else(pipeline::available_threads),
        Vec::new,
        |_| {
            check_cancelled(options.progress)?;
            Ok(batches.next())
        },
        |bytes, (shard, range, end)| {
            let (mut kept, mut pixels, mut unread) = (Vec::new(), Vec::new(), Vec::new());
            for place in range.clone() {
                match processed(encoder, pictures, &items[place], max_pixels, bytes) {
                    Ok(picture) => {
                        pixels.extend(picture);
                        kept.push(place);
                    }
                    Err(error) if bad == BadPictures::Skip => {
                        unread.push((items[place].id.clone(), error.to_string()))
                    }
                    Err(error) => return Err(error),
                }
            }
            let turn = one_at_a_time.then(|| device.lock().expect("no worker panicked"));
            let rows = if options.raw { encoder.features(pixels) } else { encoder.embed(pixels) };
            drop(turn);
            options.progress.advance(range.len());
            Ok(Embedded { shard, is_last: range.end == end, kept, rows, bad: unread })
        },
        |Embedded { shard, is_last, kept, rows, bad }| {
            let (all, records, note) = &mut current;
            all.extend(rows);
            records.extend(
                kept.iter().map(|place| (items[*place].id.clone(), PictureList::record(&items[*place]))),
            );
            note.bad.extend(bad);
            if is_last {
                note.rows = records.len();
                shards.write(shard, encoder.dim(), std::mem::take(all), std::mem::take(records), note)?;
                let note = std::mem::take(note);
                report.rows += note.rows;
                report.bad.extend(note.bad);
            }
            Ok(())
        },
    )?;
    Ok(report)
}

/// The pixels of a picture as the tower takes them.
pub(super) fn processed(
    encoder: &ImageEncoder,
    pictures: &PictureList,
    item: &Item<PicturePlace>,
    max_pixels: u64,
    bytes: &mut Vec<u8>,
) -> Result<Vec<f32>> {
    let name = pictures.read(item, bytes)?;
    Ok(encoder.processor().process(&decode_picture(bytes, &name, max_pixels)?))
}
