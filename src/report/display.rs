use std::fmt::{Display, Formatter, Result};

use super::gap_report::GapReport;
use super::sections::MethodReport;

/// The width of the column of names, and that of a number.
const WIDTHS: [usize; 2] = [13, 8];

/// A table: the sizes, the notes, the gap in the frame, and a row for each method: the held-out gap and what is expected of
/// sampling, mixing, penetration (`reach`) and coverage, the neighbours kept (`Omega_k`), `Phi`, `Psi` and the
/// Jensen-Shannon divergence within the text.
impl Display for GapReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (data, gap, frame, k) = (&self.data, &self.gap, &self.geometry.frame, self.settings.k);
        writeln!(
            f,
            "{} texts and {} images, {} dimensions; {} and {} held out",
            data.text.fit + data.text.held_out,
            data.image.fit + data.image.held_out,
            data.dim,
            data.text.held_out,
            data.image.held_out
        )?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))?;
        writeln!(
            f,
            "gap {:.4}: {:.4} in the {} dimensions that hold {:.0} % of the energy, {:.4} across them\n",
            gap.norm,
            gap.beta,
            frame.rank,
            100.0 * frame.energy,
            gap.gamma
        )?;
        let [name, number] = WIDTHS;
        write!(f, "{:<name$}", "held out")?;
        let (mix, keep) = (format!("mix@{k}"), format!("keep@{k}"));
        for head in ["gap", "expect", &mix, "reach", "cover", &keep, "Phi", "Psi", "JS"] {
            write!(f, " {head:>number$}")?;
        }
        for method in &self.methods {
            write!(f, "\n{:<name$}", method.name)?;
            numbers(method).iter().try_for_each(|value| write!(f, " {value:>number$.4}"))?;
        }
        Ok(())
    }
}

/// The numbers of a row.
fn numbers(method: &MethodReport) -> [f64; 9] {
    let MethodReport { gap, expected_gap, mixing, support, omega, phi, psi, js_within, .. } = method;
    [
        *gap,
        *expected_gap,
        mixing.pooled,
        support.penetration,
        support.coverage,
        *omega,
        *phi,
        *psi,
        *js_within,
    ]
}
