//! The page of full, bare and hostile reports.

use roxmltree::{Document, ParsingOptions};

use super::{render, sample};
use burn_revision::report::GapReport;

/// Renders a report and checks what must hold for every page.
fn checked(report: &GapReport) -> String {
    let page = render(report);
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = match Document::parse_with_options(&page, options) {
        Ok(document) => document,
        Err(error) => panic!("not well-formed: {error}"),
    };
    for word in page.split(|c: char| !c.is_alphanumeric()) {
        assert!(!["NaN", "nan", "inf", "Infinity"].contains(&word), "{word}");
    }
    for forbidden in ["<script", "src=", "url(", "@import", "http://", "<link", "<iframe"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    for node in document.descendants().filter(|node| node.is_element()) {
        for attribute in node.attributes() {
            assert!(!attribute.name().starts_with("on"), "{attribute:?}");
            let link = node.has_tag_name("a") && attribute.name() == "href";
            assert!(link || !attribute.value().contains("https:"), "{attribute:?}");
            if link && let Some(id) = attribute.value().strip_prefix('#') {
                assert!(document.descendants().any(|n| n.attribute("id") == Some(id)), "{id}");
            }
        }
    }
    let words: String = document.descendants().filter_map(|node| node.text()).collect();
    for method in &report.methods {
        assert!(words.contains(&super::text::clean(&method.name)), "{}", method.name);
    }
    page
}

/// A report without any part that may be missing.
fn bare() -> GapReport {
    let mut report = sample::full();
    report.settings.paired = false;
    report.settings.pair_by = None;
    report.data.pairs = None;
    report.notes.clear();
    report.geometry.spectral_correlation = None;
    report.geometry.text.spectrum.power_law = None;
    report.geometry.image.spectrum.power_law = None;
    report.gap.residual = None;
    report.gap.phantom_drift = None;
    for method in &mut report.methods {
        method.power_law = None;
        method.pairs = None;
    }
    for method in &mut report.projection.methods {
        method.image = None;
    }
    report.sample_efficiency.clear();
    report.domains = None;
    report.lengths = None;
    report.seconds.clear();
    report
}

/// Sets every number in a tree of JSON, and shortens every list to `length`; counts of the schema stay whole.
fn set_all(value: &mut serde_json::Value, number: f64, length: usize) {
    match value {
        serde_json::Value::Number(n) if n.is_f64() => *value = serde_json::json!(number),
        serde_json::Value::Array(values) => {
            // A list of fixed length is a tuple of the schema; those have two entries.
            if values.len() > 2 {
                values.truncate(length);
            }
            values.iter_mut().for_each(|value| set_all(value, number, length));
        }
        serde_json::Value::Object(fields) => {
            fields.values_mut().for_each(|value| set_all(value, number, length));
        }
        _ => {}
    }
}

/// The full report with every number set, every list cut.
fn uniform(number: f64, length: usize) -> GapReport {
    let mut tree = serde_json::to_value(sample::full()).unwrap();
    set_all(&mut tree, number, length);
    serde_json::from_value(tree).unwrap()
}

/// The full report with numbers of the main parts that are not finite.
fn not_finite(number: f64) -> GapReport {
    let mut report = sample::full();
    let geometry = &mut report.geometry;
    for modality in [&mut geometry.text, &mut geometry.image] {
        modality.trace = number;
        modality.spectrum.condition.retained = number;
        modality.spectrum.effective_rank = number;
        modality.spectrum.eigenvalues.fill(number);
        modality.spectrum.energy.iter_mut().for_each(|energy| energy.share = number);
        modality.spectrum.power_law.iter_mut().for_each(|law| law.exponent = number);
    }
    geometry.frame.angles.fill(number);
    report.gap.beta = number;
    report.gap.norm = number;
    for method in &mut report.methods {
        method.gap = number;
        method.fit_gap = number;
        method.sampling_floor = number;
        method.phi = number;
        method.js_within = number;
        method.mixing.pooled = number;
        method.eigenvalues.fill(number);
    }
    report.cosines.bandwidth = number;
    report.cosines.image.fill(number);
    report.cosines.grid[3] = number;
    report.projection.explained = [number; 2];
    report.projection.image.fill([number as f32; 2]);
    report.projection.methods.iter_mut().for_each(|m| m.text.fill([number as f32, 0.0]));
    for point in report.sample_efficiency.iter_mut().flat_map(|curve| &mut curve.points) {
        point.gaps.fill(number);
        point.predicted = number;
    }
    report.domains.iter_mut().for_each(|domains| domains.raw.fill(number));
    report.lengths.iter_mut().flat_map(|l| &mut l.slices).for_each(|slice| slice.gap = number);
    report.seconds.iter_mut().for_each(|(_, seconds)| *seconds = number);
    report
}

#[test]
fn a_full_report() {
    let page = checked(&sample::full());
    for title in ["Summary", "Across domains", "Captions by length", "Sample efficiency", "Phantom drift"] {
        assert!(page.contains(title), "{title}");
    }
    assert!(page.contains("Held-out half: 2,013 texts, 3,461 images"));
    assert!(page.contains("Fit half (in-sample): 2,016 texts, 3,464 images"));
    assert!(page.len() < 1_000_000, "{}", page.len());
}

#[test]
fn a_bare_report() {
    let page = checked(&bare());
    for title in
        ["Across domains", "Captions by length", "Sample efficiency", "Phantom drift", "Read this first"]
    {
        assert!(!page.contains(title), "{title}");
    }
    assert!(page.contains("not paired"));
}

#[test]
fn one_method_and_no_method() {
    let mut report = sample::full();
    report.methods.truncate(1);
    report.cosines.methods.truncate(1);
    report.projection.methods.truncate(1);
    let page = checked(&report);
    assert!(!page.contains("class=\"best\""));
    report.methods.clear();
    report.cosines.methods.clear();
    report.projection.methods.clear();
    checked(&report);
}

#[test]
fn numbers_that_are_not_finite() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        checked(&not_finite(number));
    }
}

#[test]
fn extreme_numbers_and_short_lists() {
    for number in [0.0, -0.0, -1.0, 1.0, 1e-300, f64::MIN_POSITIVE, 1e300, f64::MAX, f64::MIN, 1e99, -1e99] {
        for length in [0, 1, 2, usize::MAX] {
            checked(&uniform(number, length));
        }
    }
}

#[test]
fn one_dimension() {
    let mut report = uniform(0.5, 1);
    report.data.dim = 1;
    for modality in [&mut report.geometry.text, &mut report.geometry.image] {
        modality.spectrum.rank = 1;
    }
    checked(&report);
}

#[test]
fn counts_of_nothing_and_of_much() {
    let mut report = sample::full();
    for set in [&mut report.data.text, &mut report.data.image] {
        (set.fit, set.held_out, set.probe) = (0, 0, 0);
    }
    report.data.dim = usize::MAX;
    report.geometry.text.spectrum.rank = usize::MAX;
    report.geometry.image.spectrum.rank = 0;
    for (place, law) in report.methods.iter_mut().filter_map(|m| m.power_law.as_mut()).enumerate() {
        (law.first, law.last) = (place, usize::MAX);
    }
    if let Some(law) = &mut report.geometry.text.spectrum.power_law {
        (law.first, law.last) = (0, 3);
    }
    if let Some(law) = &mut report.geometry.image.spectrum.power_law {
        (law.first, law.last) = (9, 2);
    }
    checked(&report);
}

#[test]
fn hostile_strings() {
    let hostile = "<script>alert('x')</script>&\"]]>\u{0}\u{7}\n--><b onclick=\"y\">";
    let mut report = sample::full();
    report.created_by = hostile.into();
    report.notes = vec![hostile.into()];
    report.data.text.place = hostile.into();
    report.settings.pair_by = Some(hostile.into());
    report.settings.only = Some((hostile.into(), hostile.into()));
    report.settings.domain = Some(hostile.into());
    report.settings.caption = Some(hostile.into());
    report.seconds = vec![(hostile.into(), 1.0)];
    report.methods[1].name = hostile.into();
    report.methods[1].source = hostile.into();
    report.cosines.methods[1].method = hostile.into();
    report.projection.methods[1].method = hostile.into();
    report.sample_efficiency[0].method = hostile.into();
    if let Some(domains) = &mut report.domains {
        (domains.field, domains.method) = (hostile.into(), hostile.into());
        domains.names[0] = hostile.into();
    }
    if let Some(lengths) = &mut report.lengths {
        (lengths.field, lengths.method) = (hostile.into(), hostile.into());
    }
    checked(&report);
}
