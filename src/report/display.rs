use std::fmt::{Display, Formatter, Result};

use super::gap_report::GapReport;
use super::sections::MethodReport;

/// The width of the column of names, and that of a number.
const WIDTHS: [usize; 2] = [13, 8];

/// A table: the sizes, the notes, the gap in the frame, and a row for each method: the held-out gap and what is expected of
/// sampling, for pairs the distribution gap (`distrib`), mixing, penetration (`reach`) and coverage, the neighbours kept (`Omega_k`), `Phi`, `Psi` and the
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
        let paired = self.methods.iter().any(|method| distribution_gap(method).is_some());
        let heads = ["gap", "expect", "distrib", &mix, "reach", "cover", &keep, "Phi", "Psi", "JS"];
        for head in heads.into_iter().filter(|head| paired || *head != "distrib") {
            write!(f, " {head:>number$}")?;
        }
        for method in &self.methods {
            write!(f, "\n{:<name$}", method.name)?;
            numbers(method).iter().flatten().try_for_each(|value| write!(f, " {value:>number$.4}"))?;
        }
        Ok(())
    }
}

/// The numbers of a row; the third is there for pairs.
fn numbers(method: &MethodReport) -> [Option<f64>; 10] {
    let MethodReport { gap, expected_gap, mixing, support, omega, phi, psi, js_within, .. } = method;
    [
        Some(*gap),
        Some(*expected_gap),
        distribution_gap(method),
        Some(mixing.pooled),
        Some(support.penetration),
        Some(support.coverage),
        Some(*omega),
        Some(*phi),
        Some(*psi),
        Some(*js_within),
    ]
}

fn distribution_gap(method: &MethodReport) -> Option<f64> {
    method.pairs.as_ref()?.distribution_gap
}
