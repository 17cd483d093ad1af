//! What is measured of a method, and how it is averaged over seeds and printed.

use burn_revision::report::sections::MethodReport;

/// The columns of every table: names, and digits behind the point.
pub const COLUMNS: [(&str, usize); 9] = [
    ("gap", 4),
    ("Phi", 4),
    ("Psi", 4),
    ("Omega", 4),
    ("reach", 3),
    ("cover", 3),
    ("JS", 4),
    ("A_r", 2),
    ("cosine", 4),
];

/// The figures of one method on one set of held-out pairs, in the order of [`COLUMNS`].
pub type Figures = [f64; COLUMNS.len()];

pub fn of(report: &MethodReport) -> Figures {
    let pairs = report.pairs.as_ref();
    [
        report.gap,
        report.phi,
        report.psi,
        report.omega,
        report.support.penetration,
        report.support.coverage,
        report.js_within,
        pairs.map_or(f64::NAN, |pairs| pairs.anisotropy),
        pairs.map_or(f64::NAN, |pairs| pairs.cosine),
    ]
}

pub fn mean(of_seeds: &[Figures]) -> Figures {
    std::array::from_fn(|at| of_seeds.iter().map(|figures| figures[at]).sum::<f64>() / of_seeds.len() as f64)
}

/// The largest standard deviation over seeds that any of the methods has, as a row.
pub fn print_deviation(of_methods: &[Vec<Figures>]) {
    let deviation = |of_seeds: &Vec<Figures>, at: usize| {
        let mean = mean(of_seeds)[at];
        let squares: f64 = of_seeds.iter().map(|figures| (figures[at] - mean).powi(2)).sum();
        (squares / (of_seeds.len() as f64 - 1.0)).sqrt()
    };
    let cells = COLUMNS.iter().enumerate().map(|(at, (_, digits))| {
        let largest = of_methods.iter().map(|of_seeds| deviation(of_seeds, at)).fold(0.0, f64::max);
        format!("{largest:.digits$}")
    });
    println!("| largest deviation over seeds | {} |", cells.collect::<Vec<_>>().join(" | "));
}

/// The head of a Markdown table.
pub fn print_head(first: &str) {
    println!("| {first} | {} |", COLUMNS.map(|(name, _)| name).join(" | "));
    println!("|{}", "---|".repeat(COLUMNS.len() + 1));
}

/// A row of it; columns that differ from those of `beside` in the same direction for every seed get a star.
pub fn print_row(name: &str, of_seeds: &[Figures], beside: Option<&[Figures]>) {
    let mean = mean(of_seeds);
    let cells: Vec<String> = COLUMNS
        .iter()
        .enumerate()
        .map(|(at, (_, digits))| {
            let signs = beside.into_iter().flat_map(|beside| {
                of_seeds.iter().zip(beside).map(|(here, there)| (here[at] - there[at]).partial_cmp(&0.0))
            });
            let signs: Vec<_> = signs.collect();
            let differs = signs.first().is_some_and(|first| {
                *first != Some(std::cmp::Ordering::Equal) && signs.iter().all(|sign| sign == first)
            });
            format!("{:.digits$}{}", mean[at], if differs { "*" } else { "" }, digits = *digits)
        })
        .collect();
    println!("| {name} | {} |", cells.join(" | "));
}
