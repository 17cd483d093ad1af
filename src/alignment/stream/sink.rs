//! Writing the rows of a store, mapped in some way, to a file for each shard.

use std::path::Path;

use super::job::{Job, ShardState, Target};
use crate::embedding::output::{MatrixOutput, write_sidecar};
use crate::embedding::{
    BLOCK_ROWS, BytesMoved, FloatType, Format, NonFinite, Piece, Pieces, Progress, RawRows, RowReport, Shard,
    Store, Terms, check_cancelled, pipeline, records,
};
use crate::{Error, Result};

/// How rows are written.
pub(super) struct Sink<'a> {
    pub format: Format,
    /// The type of the values written; that of the shard by default.
    pub float: Option<FloatType>,
    pub policy: NonFinite,
    pub threads: usize,
    pub piece_rows: usize,
    pub sync: bool,
    pub progress: &'a dyn Progress,
}

/// A thread's buffers, used again and again.
#[derive(Default)]
pub(super) struct Buffers {
    input: Vec<u8>,
    /// For the mapping of rows.
    pub values: Vec<f32>,
    output: Vec<u8>,
}

/// Replaces the bytes by the mapped rows, as they are stored; the number is that of the first row in the store.
/// Returns the rows that were left out and what became of the others.
pub(super) trait MapRows: Sync {
    /// How many rows it should be given at once on the host.
    fn piece_rows(&self) -> usize {
        BLOCK_ROWS
    }

    fn map(
        &self,
        rows: RawRows<'_>,
        terms: Terms<'_>,
        first: usize,
        float: FloatType,
        values: &mut Vec<f32>,
        bytes: &mut Vec<u8>,
    ) -> Result<(Vec<usize>, RowReport)>;
}

/// What became of a piece.
struct Done {
    report: RowReport,
    skipped: Vec<usize>,
    /// Rows that could not be written yet, because their place was not known.
    bytes: Option<Vec<u8>>,
}

impl Sink<'_> {
    /// Writes every shard that is not complete yet.
    pub fn write(
        &self,
        store: &Store,
        target: &Target,
        job: &mut Job,
        stage: &str,
        map: &dyn MapRows,
    ) -> Result<(RowReport, BytesMoved)> {
        self.progress.begin(stage, store.len());
        let (mut report, mut bytes, mut first) = (RowReport::default(), BytesMoved::default(), 0);
        for (shard, file) in store.shards().iter().zip(&target.files) {
            let mut state = job.state(file);
            if state.complete {
                self.progress.advance(shard.len());
            } else {
                let float = self.float.unwrap_or(shard.float());
                bytes += match self.format {
                    Format::Parquet => self.write_parquet(shard, file, &mut state, (float, first, map))?,
                    _ => self.write_matrix(shard, file, &mut state, job, (float, first, map))?,
                };
                state.complete = true;
                job.update(file, &state)?;
            }
            report.merge(&state.rows);
            first += shard.len();
        }
        job.complete()?;
        Ok((report, bytes))
    }

    fn write_matrix(
        &self,
        shard: &Shard,
        file: &Path,
        state: &mut ShardState,
        job: &mut Job,
        (float, first, map): (FloatType, usize, &dyn MapRows),
    ) -> Result<BytesMoved> {
        let (done, kept_before) = (state.rows.rows, state.rows.kept);
        let output = MatrixOutput::create(file, self.format, float, shard.dim(), done > 0)?;
        self.progress.advance(done);
        // A row that is left out moves all rows after it: then a piece's place is known when its turn has come.
        let at_once = self.policy != NonFinite::Skip;
        let written = self.run(
            shard,
            done,
            |piece, buffers| {
                let (skipped, report) = self.map_piece(piece, buffers, (float, first, map))?;
                if at_once {
                    output.write(piece.rows.start, &buffers.output)?;
                }
                let bytes = (!at_once).then(|| std::mem::take(&mut buffers.output));
                Ok(Done { report, skipped, bytes })
            },
            |done| {
                if let Some(bytes) = &done.bytes {
                    output.write(state.rows.kept, bytes)?;
                }
                state.rows.merge(&done.report);
                state.left_out.extend(done.skipped);
                if job.is_due() {
                    output.sync()?;
                    job.update(file, state)?;
                }
                Ok(())
            },
        );
        if let Err(error) = written {
            // Nobody knows what is in the file beyond this: it is written again.
            if state.rows.rows > 0 && output.sync().is_ok() {
                job.update(file, state).ok();
            }
            return Err(error);
        }
        let ids = self.write_records(shard, file, state, first)?;
        output.finish(state.rows.kept, ids.as_deref(), self.sync)?;
        let (read, kept) = (state.rows.rows - done, state.rows.kept - kept_before);
        Ok(BytesMoved {
            read: (read * shard.row_bytes()) as u64,
            written: (kept * shard.dim() * float.size()) as u64,
        })
    }

    /// Maps the rows of a shard from row `done` on; results come in order.
    fn run(
        &self,
        shard: &Shard,
        done: usize,
        work: impl Fn(&Piece<'_>, &mut Buffers) -> Result<Done> + Sync,
        mut commit: impl FnMut(Done) -> Result<()> + Send,
    ) -> Result<()> {
        let mut pieces = Pieces::from_row(std::slice::from_ref(shard), self.piece_rows, done);
        pipeline::run(
            self.threads,
            Buffers::default,
            |buffers| {
                check_cancelled(self.progress)?;
                pieces.next(&mut buffers.input)
            },
            |buffers, piece| work(&piece, buffers),
            |done| {
                let rows = done.report.rows;
                commit(done)?;
                self.progress.advance(rows);
                Ok(())
            },
        )
    }

    fn map_piece(
        &self,
        piece: &Piece<'_>,
        buffers: &mut Buffers,
        (float, first, map): (FloatType, usize, &dyn MapRows),
    ) -> Result<(Vec<usize>, RowReport)> {
        let what = piece.shard.path().to_string_lossy();
        let terms = Terms { policy: self.policy, what: &what, first: piece.rows.start };
        let Buffers { input, values, output } = buffers;
        map.map(piece.read(input)?, terms, first + piece.rows.start, float, values, output)
    }

    /// Writes what stands beside the rows that were kept, and returns the fingerprint of the ids. Rows without ids are known
    /// by their numbers in the store, of which `first` is the shard's first.
    fn write_records(
        &self,
        shard: &Shard,
        file: &Path,
        state: &ShardState,
        first: usize,
    ) -> Result<Option<String>> {
        let sidecar = records::sidecar(file);
        match shard.records()? {
            Some(found) => {
                let mut skipped = state.left_out.iter().copied().peekable();
                let kept = found.enumerate().filter_map(|(row, record)| match record {
                    Ok(_) if skipped.next_if_eq(&row).is_some() => None,
                    // Other columns without ids: the file of records must have some.
                    Ok(mut record) if !shard.has_ids() => {
                        record.insert("id".to_string(), (first + row).to_string().into());
                        Some(Ok(record))
                    }
                    record => Some(record),
                });
                // A file converted within its folder shares the records with its source, which is not touched.
                let own = shard.other_file().and_then(|own| own.canonicalize().ok());
                if own.is_none() || own != sidecar.canonicalize().ok() {
                    return write_sidecar(file, kept).map(Some);
                }
                if !shard.keeps_records() {
                    let detail = format!("{} would get other ids, but it is the input's", sidecar.display());
                    return Err(Error::config("output", detail + "; name another folder"));
                }
                if !state.left_out.is_empty() {
                    let detail = format!("{} would lose rows, but it is the input's", sidecar.display());
                    return Err(Error::config("output", detail));
                }
                let mut fingerprint = records::IdsFingerprint::new();
                for record in kept {
                    fingerprint.add(&records::id(&record?).unwrap_or_default());
                }
                Ok(Some(fingerprint.finish()))
            }
            // Rows without ids are known by their numbers, which those left out would shift.
            None if !state.left_out.is_empty() => {
                let mut skipped = state.left_out.iter().peekable();
                let kept = (0..shard.len()).filter(|row| skipped.next_if_eq(&row).is_none());
                write_sidecar(file, kept.map(|row| Ok(records::of_id((first + row).to_string())))).map(Some)
            }
            None => match std::fs::remove_file(&sidecar) {
                // It would be taken for the records of this matrix.
                Ok(()) => Ok(None),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(Error::io(sidecar, error)),
            },
        }
    }

    #[cfg(not(feature = "parquet"))]
    fn write_parquet(
        &self,
        _: &Shard,
        _: &Path,
        _: &mut ShardState,
        _: (FloatType, usize, &dyn MapRows),
    ) -> Result<BytesMoved> {
        Err(Error::config("format", "Parquet files need the feature `parquet`"))
    }

    /// A Parquet file is one stream of pages, so an interrupted one is begun anew.
    #[cfg(feature = "parquet")]
    fn write_parquet(
        &self,
        shard: &Shard,
        file: &Path,
        state: &mut ShardState,
        (float, first, map): (FloatType, usize, &dyn MapRows),
    ) -> Result<BytesMoved> {
        use std::fs::File;
        use std::io::{BufWriter, Write};

        use crate::embedding::output::partial_name;
        use crate::embedding::parquet::{ParquetWriter, with_ids};

        *state = ShardState::default();
        let partial = partial_name(file);
        let io = |error| Error::io(file, error);
        let out = BufWriter::with_capacity(1 << 20, File::create(&partial).map_err(io)?);
        let mut records = shard.records()?;
        // Rows without ids are known by their numbers, which those left out would shift.
        let numbered = !shard.has_ids() && self.policy == NonFinite::Skip;
        let extras = match shard.extras_schema() {
            Some(extras) if numbered => Some(std::sync::Arc::new(with_ids(&extras))),
            Some(extras) => Some(extras),
            None if records.is_none() && !numbered => {
                Some(std::sync::Arc::new(arrow_schema::Schema::empty()))
            }
            None => None,
        };
        let mut writer = ParquetWriter::new(out, file, float, shard.dim(), extras)?;
        self.run(
            shard,
            0,
            |piece, buffers| {
                let (skipped, report) = self.map_piece(piece, buffers, (float, first, map))?;
                Ok(Done { report, skipped, bytes: Some(std::mem::take(&mut buffers.output)) })
            },
            |done| {
                let mut skipped = done.skipped.iter().copied().peekable();
                let mut kept = Vec::with_capacity(done.report.kept);
                for row in state.rows.rows..state.rows.rows + done.report.rows {
                    let mut record = match &mut records {
                        Some(records) => records.next().unwrap_or_else(|| Err(too_few(shard, row)))?,
                        None => crate::embedding::Record::new(),
                    };
                    if numbered {
                        record.insert("id".to_string(), (first + row).to_string().into());
                    }
                    if skipped.next_if_eq(&row).is_none() {
                        kept.push(record);
                    }
                }
                writer.write(done.bytes.as_deref().unwrap_or_default(), &kept)?;
                state.rows.merge(&done.report);
                state.left_out.extend(done.skipped);
                Ok(())
            },
        )?;
        if let Some(record) = records.as_mut().and_then(Iterator::next) {
            record.and(Err(too_few(shard, shard.len())))?;
        }
        let mut out = writer.finish()?;
        out.flush().map_err(io)?;
        if self.sync {
            out.get_ref().sync_all().map_err(io)?;
        }
        std::fs::rename(&partial, file).map_err(io)?;
        Ok(BytesMoved {
            read: (state.rows.rows * shard.row_bytes()) as u64,
            written: (state.rows.kept * shard.dim() * float.size()) as u64,
        })
    }
}

#[cfg(feature = "parquet")]
fn too_few(shard: &Shard, row: usize) -> Error {
    Error::format(shard.path(), format!("expected a record for each of {} rows, and not {row}", shard.len()))
}
