//! What is gathered of texts that were moved, after the moments.

use burn::tensor::Device;

use super::{CentroidPass, Statistics, host_device};
use crate::alignment::blockwise::BlockwiseFit;
use crate::alignment::host_map::HostMap;
use crate::alignment::realign::ReAlignFit;
use crate::alignment::{Aligner, BlockwiseConfig, Method, ReAlign};
use crate::geometry::Moments;
use crate::{Error, Result};

/// Refuses a sample of no rows, and of more than there are.
pub(in crate::alignment) fn check_sample(sample: usize, rows: usize) -> Result<()> {
    match (1..=rows).contains(&sample) {
        true => Ok(()),
        false => {
            let detail = format!("expected from 1 to {rows} text rows, found {sample}");
            Err(Error::config("centroid-sample", detail))
        }
    }
}

impl Statistics {
    /// How many text rows the centroid pass under way has read, and how many it must read: those of all sources. Nothing
    /// where no pass is missing.
    pub fn missing_centroid(&self) -> Option<(usize, usize)> {
        let read = self.pass.as_ref().map_or(0, |pass| pass.read);
        let done = self.centroids.len() + usize::from(self.moved.is_some());
        (done < self.method.text_passes()).then_some((read, self.report.text.rows))
    }

    /// The map whose result the next pass over the text gathers, on the host, and whether that is a covariance.
    pub(in crate::alignment) fn pass_map(&self) -> Result<(Box<dyn HostMap>, bool)> {
        Ok(match self.method {
            Method::Blockwise { .. } => {
                let fit = self.blockwise()?;
                match &self.moved {
                    None => (Box::new(fit.shift()), true),
                    Some(moved) => (Box::new(fit.with_moved(moved)?.host_map(None)), false),
                }
            }
            Method::AnisoAlign(_) => (Box::new(self.anisoalign(&host_device())?.host_map()), false),
            _ => (Box::new(self.realign()?.closed_form()), false),
        })
    }

    /// As [`Statistics::pass_map`] in tensors, for methods whose pass gathers centroids.
    pub(in crate::alignment) fn pass_method(
        &self,
        device: &Device,
    ) -> Result<Option<Box<dyn Aligner + Send + Sync>>> {
        Ok(match self.method {
            Method::AnisoAlign(_) => Some(Box::new(self.anisoalign(device)?)),
            Method::Blockwise { .. } => None,
            _ => Some(Box::new(ReAlign::of(self.realign()?.partial(), device))),
        })
    }

    pub(super) fn without_pass(&self) -> Error {
        Error::config("method", format!("{} has no centroid pass", self.method))
    }

    pub(super) fn blockwise(&self) -> Result<BlockwiseFit> {
        let Method::Blockwise { ridge, energy } = self.method else {
            return Err(self.without_pass());
        };
        let config = BlockwiseConfig::new().with_ridge(ridge).with_energy(energy);
        BlockwiseFit::new(&config, &self.text, &self.image)
    }

    /// The fit of ReAlign as far as it has come, for methods that are or begin with it.
    pub(super) fn realign(&self) -> Result<ReAlignFit> {
        let config = self.method.realign().ok_or_else(|| self.without_pass())?;
        let mut fit = ReAlignFit::anchor_trace(&config, &self.text, &self.image)?;
        fit.resume(&self.centroids);
        Ok(fit)
    }

    pub(super) fn moved(&self) -> Result<&Moments> {
        let lacking = || Error::config("statistics", "the covariance of the moved texts is missing");
        self.moved.as_ref().ok_or_else(lacking)
    }

    /// How many rows of a source of `rows` text rows a centroid pass is made of, where `sample` rows of all sources
    /// together are asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a sample of no rows, and of more than there are.
    pub(in crate::alignment) fn share_of_sample(&self, sample: usize, rows: usize) -> Result<usize> {
        let all = self.report.text.rows;
        check_sample(sample, all)?;
        Ok((sample as u128 * rows as u128).div_ceil(all.max(1) as u128) as usize)
    }

    /// Takes in what was gathered of `read` text rows for the centroid pass under way, and ends the pass when all rows have
    /// been read.
    pub(in crate::alignment) fn add_to_pass(
        &mut self,
        projected: &Moments,
        read: usize,
        sample: Option<usize>,
    ) -> Result<()> {
        if self.pass.is_some() && self.sample != sample {
            let rows = |sample: Option<usize>| sample.map_or("all".to_string(), |rows| rows.to_string());
            let (before, now) = (rows(self.sample), rows(sample));
            let detail =
                format!("the pass under way was begun with {before} rows, and is continued with {now}");
            return Err(Error::config("centroid-sample", detail));
        }
        let mut pass =
            self.pass.take().unwrap_or_else(|| CentroidPass { projected: projected.without_rows(), read: 0 });
        pass.projected.merge(projected)?;
        pass.read += read;
        let what = "text rows in a centroid pass (those that the moments were made of)";
        let wanted = self.report.text.rows;
        if pass.read > wanted {
            return Err(Error::mismatch(what, wanted, pass.read));
        }
        self.sample = sample;
        if pass.read < wanted {
            self.pass = Some(pass);
            return Ok(());
        }
        let gathered = pass.projected.count();
        match sample {
            // Rows that were fitted have changed since.
            None if gathered != self.text.count() => Err(Error::mismatch(what, self.text.count(), gathered)),
            Some(_) if gathered == 0 => {
                let what = "rows with a direction in the sample for the centroid".to_string();
                Err(Error::TooFewRows { what, needed: 1, actual: 0 })
            }
            _ if pass.projected.gathers_covariance() => {
                self.moved = Some(pass.projected);
                Ok(())
            }
            _ => {
                self.centroids.push(pass.projected.mean().to_vec());
                Ok(())
            }
        }
    }
}
