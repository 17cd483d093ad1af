use std::path::Path;

use super::run_description::DataSection;
use burn_revision::embedding::Store;
use burn_revision::encoder::{EncoderRecord, PretrainedEncoder};
use burn_revision::language::LanguageModel;
use burn_revision::revision::SavedReVision;
use burn_revision::{Error, Result};

/// Writes which encoder made the rows of a store beside it, in place of what is there.
pub fn write(record: Option<&EncoderRecord>, store: &Path) -> Result<()> {
    let path = EncoderRecord::beside(store);
    match record {
        Some(record) => record.write(store),
        None if path.is_file() => std::fs::remove_file(&path).map_err(|source| Error::io(&path, source)),
        None => Ok(()),
    }
}

/// Writes beside a store which encoder made the rows of the one that it was made of.
pub fn carry(from: &Store, to: &Path) -> Result<()> {
    write(EncoderRecord::find(from.place())?.as_ref(), to)
}

/// The record of a store, where it has one.
pub fn of(store: &Store) -> Result<Option<EncoderRecord>> {
    let Some(record) = EncoderRecord::find(store.place())? else { return Ok(None) };
    if record.dim != store.dim() {
        let path = EncoderRecord::beside(store.place());
        let what = format!("{}: dimension of the encoder, for the rows", path.display());
        return Err(Error::mismatch(what, store.dim(), record.dim));
    }
    Ok(Some(record))
}

/// Refuses embeddings of another encoder than the model was trained with, where both are known.
pub fn check<L: LanguageModel>(store: &Store, saved: &SavedReVision<L>) -> Result<()> {
    match of(store)? {
        Some(record) => saved.check_encoder(&record).map_err(|error| named(store, error)),
        None => Ok(()),
    }
}

/// The model with the encoder of its training data: the one that the description names, and those of the stores.
pub fn declared(mut saved: SavedReVision, data: &DataSection) -> Result<SavedReVision> {
    if let Some(path) = &data.encoder {
        let Some(record) = PretrainedEncoder::open(path)?.record()? else {
            let detail = format!("{} has no image tower", path.display());
            return Err(Error::config("[data] encoder", detail));
        };
        saved = saved.with_encoder(record)?;
    }
    for path in [&data.embeddings, &data.valid_embeddings].into_iter().flatten() {
        let store = Store::open_with(path, &data.store_options())?;
        if let Some(record) = of(&store)? {
            saved = saved.with_encoder(record).map_err(|error| named(&store, error))?;
        }
    }
    Ok(saved)
}

/// The error about an encoder, with the store whose encoder it is.
fn named(store: &Store, error: Error) -> Error {
    match error {
        Error::Config { key, detail } => {
            Error::config(format!("{key} of {}", store.place().display()), detail)
        }
        other => other,
    }
}
