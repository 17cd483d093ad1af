use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use ::parquet::file::metadata::{ColumnChunkMask, PageIndexPolicy, ParquetMetaData};

use super::parquet_error;
use super::source::PageSource;
use crate::{Error, Result};

/// Decoded bytes of one part, where the file has no index of its pages: a part is read from the start of its row
/// group on, so that a smaller one would cost hardly less.
const PART_BYTES: usize = 16 << 20;
/// Decoded bytes beyond which one page is read in several parts.
const PAGE_BYTES: usize = 4 << 20;

/// The parts of a file of which each is decoded at once: pages, where the file has an index of them (an "offset
/// index"), or else pieces of row groups.
pub(crate) struct ParquetPages {
    metadata: ArrowReaderMetadata,
    /// Whether `metadata` says where every page lies.
    is_indexed: bool,
    /// The first row of every row group, and then the number of rows.
    groups: Vec<usize>,
    /// Likewise of every part.
    parts: Vec<usize>,
}

impl ParquetPages {
    /// Reads the index of a file whose metadata without it is `plain`; `column` is the number of the embedding.
    pub(super) fn find(
        path: &Path,
        plain: &ArrowReaderMetadata,
        column: usize,
        row_bytes: usize,
    ) -> Result<Self> {
        let groups = plain.metadata().row_groups().iter().scan(0, |rows, group| {
            *rows += group.num_rows() as usize;
            Some(*rows)
        });
        let groups: Vec<usize> = [0].into_iter().chain(groups).collect();
        let mut pages = Self { metadata: plain.clone(), is_indexed: false, groups, parts: Vec::new() };
        let schema = plain.parquet_schema();
        let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == column);
        let leaf = leaf.expect("every column has a leaf");
        let with_index = read_index(path, plain, leaf)?;
        let starts = pages.indexed_starts(with_index.metadata(), leaf);
        pages.is_indexed = starts.is_some();
        let most = match &starts {
            Some(_) => (PAGE_BYTES / row_bytes).max(1),
            None => (PART_BYTES / row_bytes).max(1),
        };
        for pair in starts.as_ref().unwrap_or(&pages.groups).windows(2) {
            pages.parts.extend((pair[0]..pair[1]).step_by(most));
        }
        pages.parts.extend(pages.groups.last());
        if pages.is_indexed {
            pages.metadata = with_index;
        }
        Ok(pages)
    }

    /// The first row of every page and then the number of rows; `None` where a row group has no index, or one that
    /// cannot be right.
    fn indexed_starts(&self, metadata: &ParquetMetaData, leaf: usize) -> Option<Vec<usize>> {
        let index = metadata.page_index()?;
        let mut starts = Vec::new();
        for (group, rows) in self.groups.windows(2).enumerate().filter(|(_, rows)| rows[0] < rows[1]) {
            let length = rows[1] - rows[0];
            let pages = index.page_locations(group, leaf)?;
            let within = |page: usize| usize::try_from(pages[page].first_row_index).ok();
            if pages.is_empty() || within(0) != Some(0) {
                return None;
            }
            for page in 0..pages.len() {
                let start = within(page).filter(|start| *start < length)?;
                if page > 0 && within(page - 1)? >= start {
                    return None;
                }
                starts.push(rows[0] + start);
            }
        }
        starts.extend(self.groups.last());
        Some(starts)
    }

    /// The part in which a row lies.
    pub(crate) fn part(&self, row: usize) -> Range<usize> {
        let next = self.parts.partition_point(|start| *start <= row);
        self.parts[next - 1]..self.parts[next]
    }

    /// The row group in which a row lies, and the first row of that.
    pub(super) fn group(&self, row: usize) -> (usize, usize) {
        let group = self.groups.partition_point(|start| *start <= row) - 1;
        (group, self.groups[group])
    }

    pub(super) fn metadata(&self) -> &ArrowReaderMetadata {
        &self.metadata
    }

    pub(super) fn source(&self, file: File) -> std::io::Result<PageSource> {
        match self.is_indexed {
            true => PageSource::of_whole_pages(file),
            false => PageSource::new(file),
        }
    }

    /// Whether the parts are pages.
    #[cfg(test)]
    pub(crate) fn is_indexed(&self) -> bool {
        self.is_indexed
    }
}

/// The metadata again, with the places of the pages of one column where the file tells them.
fn read_index(path: &Path, plain: &ArrowReaderMetadata, leaf: usize) -> Result<ArrowReaderMetadata> {
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    let options = ArrowReaderOptions::new()
        .with_offset_index_policy(PageIndexPolicy::Optional)
        .with_offset_index_mask(ColumnChunkMask::columns([leaf]));
    let load = || {
        let found = ArrowReaderMetadata::load(&file, options)?;
        let options = ArrowReaderOptions::new().with_schema(Arc::clone(plain.schema()));
        ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), options)
    };
    load().map_err(|error| parquet_error(path, error))
}

impl fmt::Debug for ParquetPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetPages")
            .field("is_indexed", &self.is_indexed)
            .field("parts", &(self.parts.len() - 1))
            .finish_non_exhaustive()
    }
}
