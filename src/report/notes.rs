use super::config::ReportConfig;
use super::input::Input;
use super::sections::{GapSection, Geometry};
use crate::alignment::Method;

/// What a reader should know before believing a number.
pub(super) fn notes(
    input: &Input,
    config: &ReportConfig,
    geometry: &Geometry,
    gap: &GapSection,
) -> Vec<String> {
    let mut notes = Vec::new();
    let (data, dim) = (&input.data, input.data.dim);
    for (set, name, modality) in
        [(&data.text, "text", &geometry.text), (&data.image, "image", &geometry.image)]
    {
        if set.read < set.stored {
            notes.push(format!("{} of {} {name} rows were read.", set.read, set.stored));
        }
        if set.left_out > 0 {
            notes.push(format!("{} {name} rows without direction were left out.", set.left_out));
        }
        let unpaired = set.read - set.left_out - set.fit - set.held_out;
        if unpaired > 0 {
            notes.push(format!("{unpaired} {name} rows that were read have no partner, and were left out."));
        }
        if set.probe < set.held_out {
            let (probe, held_out) = (set.probe, set.held_out);
            notes.push(format!(
                "Neighbours and cosines of {name} are measured on {probe} of {held_out} held-out rows."
            ));
        }
        let rank = modality.spectrum.rank;
        if rank < dim {
            notes.push(format!(
                "The covariance of {name} has rank {rank} of {dim}, from {} rows: its condition number is that of the \
                 {rank} dimensions that vary, and methods that invert it depend on the ridge.",
                modality.rows
            ));
        } else if modality.rows < 10 * dim {
            notes.push(format!(
                "The covariance of {name} is made of {} rows in {dim} dimensions: its small eigenvalues are too small.",
                modality.rows
            ));
        }
    }
    if !config.paired {
        notes.push("The sets are not paired: what needs pairs is left out.".to_string());
    }
    if let Some(pairs) = &input.held_out.pairs {
        let mut images = vec![0_usize; data.text.held_out];
        pairs.iter().for_each(|pair| images[pair[0] as usize] += 1);
        let most = images.iter().max().copied().unwrap_or(0);
        if most > 10 {
            notes.push(format!(
                "One held-out text has {most} images: means of images lean towards it, and are known less well than their \
                 number suggests."
            ));
        }
    }
    if config.methods.contains(&Method::Unicorn) {
        notes.push(
            "Unicorn leaves images shorter than unit length at inference; here all rows are measured at unit length, where \
             it is the same map as gr_clip."
                .to_string(),
        );
    }
    if gap.phantom_drift.is_none() {
        notes
            .push("No phantom drift: the text does not vary, or the mean of the images is zero.".to_string());
    }
    notes
}
