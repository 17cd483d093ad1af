//! Every quantity of the page in one line.

use self::Source::{Align, Aniso, Compromise, Own};

/// The paper of the theory and of ReAlign.
pub(super) const ALIGN: &str = "2602.07026";
/// The paper of AnisoAlign.
pub(super) const ANISO: &str = "2605.07825";
/// The paper that divides the gap into that of the centroids and that of the distributions.
pub(super) const COMPROMISE: &str = "2604.00279";

/// Where a definition comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Source {
    /// A place in [`ALIGN`].
    Align(&'static str),
    /// A place in [`ANISO`].
    Aniso(&'static str),
    /// [`COMPROMISE`], of which a sentence was at hand and no formula.
    Compromise,
    /// Neither.
    Own,
}

/// One quantity; name and definition are markup.
pub(super) struct Quantity {
    /// What it is called.
    pub name: &'static str,
    /// What it is.
    pub definition: &'static str,
    /// Where it was defined.
    pub source: Source,
}

/// A quantity.
const fn quantity(name: &'static str, source: Source, definition: &'static str) -> Quantity {
    Quantity { name, definition, source }
}

/// All of them, in the order of the page.
pub(super) const QUANTITIES: &[Quantity] = &[
    quantity(
        "gap, G<sub>μ</sub>",
        Align("Sec. 6"),
        "‖μ<sub>x</sub> − μ<sub>z</sub>‖, the distance of the centroids of images and (aligned) text.",
    ),
    quantity(
        "sampling floor",
        Own,
        "The gap that sampling of held-out rows alone leaves: √(tr Σ<sub>x</sub>/n<sub>x</sub> + tr \
         Σ<sub>z</sub>/n<sub>z</sub>); with pairs a text is drawn together with all its images. What is expected adds \
         the same of the fit half, of which the statistics were made.",
    ),
    quantity(
        "trace, tr Σ",
        Align("Sec. 4"),
        "The mean squared distance of a row to its centroid; 1 − ‖μ‖² for unit rows.",
    ),
    quantity(
        "effective rank",
        Align("App. G"),
        "exp of the entropy of the eigenvalues divided by their sum. The paper prints no formula; this is the \
         usual one.",
    ),
    quantity("participation ratio, d<sub>eff</sub>", Aniso("App. A"), "(tr Σ)² / tr(Σ²)."),
    quantity(
        "power-law exponent, α",
        Align("App. D.1"),
        "λ<sub>k</sub> ∝ k<sup>−α</sup>, by least squares on logarithmic axes over the range given with it. \
         The paper states no range.",
    ),
    quantity(
        "condition number, all",
        Align("Sec. 3"),
        "λ<sub>1</sub> over the last eigenvalue above rounding. The paper’s effective κ has no formula; both \
         readings are given.",
    ),
    quantity(
        "condition number, leading",
        Align("Sec. 3"),
        "λ<sub>1</sub> / λ<sub>r</sub> over the leading r eigenvalues only.",
    ),
    quantity(
        "G<sub>Σ</sub>",
        Aniso("Sec. 3"),
        "‖Σ<sub>x</sub> − Σ<sub>y</sub>‖<sub>F</sub> / ‖Σ<sub>x</sub>‖<sub>F</sub>.",
    ),
    quantity("C<sub>λ</sub>", Aniso("Sec. 3"), "The correlation of the logarithms of both sorted spectra."),
    quantity(
        "O<sub>q</sub>",
        Aniso("Sec. 3"),
        "‖U<sub>x</sub><sup>T</sup> U<sub>y</sub>‖²<sub>F</sub> / q for the leading q eigenvectors; q/d for \
         random subspaces.",
    ),
    quantity(
        "frame, U and V",
        Align("Sec. 3"),
        "U: the leading eigenvectors of Σ<sub>text</sub> + Σ<sub>image</sub> of the fit half that hold the \
         share of energy in the settings; V: what is orthogonal to U.",
    ),
    quantity(
        "principal angles, sin θ",
        Align("App. C"),
        "Angles between U of the two halves; sin θ is the sine of the largest.",
    ),
    quantity(
        "β, γ",
        Align("Sec. 3"),
        "The mean gap m = μ<sub>x</sub> − μ<sub>y</sub> within U (principal modality bias) and within V \
         (passive orthogonal bias).",
    ),
    quantity(
        "residual, r = δ + ζ",
        Align("Sec. 3"),
        "(x − μ<sub>x</sub>) − (y − μ<sub>y</sub>) of a pair; δ within U, ζ within V.",
    ),
    quantity("R<sub>energy</sub>", Aniso("App. A"), "tr Σ<sub>r</sub> / (‖m‖² + tr Σ<sub>r</sub>)."),
    quantity("R<sub>dist</sub>", Aniso("App. A"), "E‖r‖ / E‖x − y‖."),
    quantity("A<sub>r</sub>", Aniso("App. A"), "λ<sub>max</sub> d / tr Σ<sub>r</sub>; 1 for a round cloud."),
    quantity(
        "A<sub>r</sub>(T)",
        Aniso("App. B.2"),
        "The same of the second moment of x − z, after a method.",
    ),
    quantity(
        "distribution gap, G<sub>D</sub>",
        Compromise,
        "E‖(x − μ<sub>x</sub>) − (z − μ<sub>z</sub>)‖ over pairs: the mean distance that is left once the centroids lie on each other. \
         A reading of the paper’s sentence; its formula was not at hand.",
    ),
    quantity(
        "coupling, L",
        Align("App. C"),
        "The ridge regression of ζ on δ: its spectral norm, and the share of the energy of ζ that it explains.",
    ),
    quantity("angle of γ", Align("Sec. 3"), "Of γ to the first principal direction of ζ."),
    quantity(
        "phantom drift",
        Align("Sec. 3.4"),
        "How far the centroid of a cloud moves when its rows are projected onto the sphere (Theorem B.14), \
         measured for ReAlign’s affine step.",
    ),
    quantity(
        "mixing",
        Align("App. D.3"),
        "The mean share of the k nearest neighbours of a row that are of the other modality, in the whole \
         space. The paper prints no formula.",
    ),
    quantity(
        "local support",
        Aniso("App. B.2"),
        "The mean entropy of the modalities among the k nearest neighbours, divided by that of shuffled \
         labels; penetration asks the text, coverage the images.",
    ),
    quantity(
        "Ω<sub>k</sub>",
        Aniso("App. B.2"),
        "The share of the k nearest neighbours of a text among the texts that it keeps.",
    ),
    quantity("Φ", Aniso("App. B.2"), "E⟨y, z⟩, the mean cosine of a text to itself before."),
    quantity(
        "Ψ",
        Aniso("App. B.2"),
        "The correlation, over pairs of texts, of their cosine before and after.",
    ),
    quantity(
        "JS divergence",
        Align("App. D.2"),
        "Jensen-Shannon divergence, in bits, of a density of cosines from that within the images; Gaussian \
         kernels of one width on one grid. The paper states neither width nor base.",
    ),
    quantity(
        "recall at k",
        Own,
        "The share of pairs of the probe whose text is among the k nearest of all texts of the probe to the image.",
    ),
    quantity(
        "sample efficiency",
        Align("App. E.1"),
        "The held-out gap against the rows of the statistics; predicted √((tr Σ<sub>x</sub> + tr Σ<sub>z</sub>)/N + floor²), as if rows were drawn independently.",
    ),
    quantity("domains", Align("App. E.3"), "The gap on one domain with the statistics of another."),
    quantity(
        "captions by length",
        Align("App. G"),
        "Gap, effective rank and trace of captions with so many words.",
    ),
];
