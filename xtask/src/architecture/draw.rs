//! The drawing: a box for each folder, in layers, and an arrow to each folder that it uses.
//!
//! Layers and the order within them follow Sugiyama, Tagawa and Toda (IEEE Trans. SMC 11, 1981): long arrows get a place
//! in each layer that they cross, and places are ordered by where their neighbours are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::graph::Graph;

const BOX_HEIGHT: f64 = 40.0;
const LAYER: f64 = 96.0;
const GAP: f64 = 26.0;
const MARGIN: f64 = 20.0;
/// What an arrow takes in a layer that it crosses.
const LANE: f64 = 14.0;
const SWEEPS: usize = 24;

/// A box, or where an arrow crosses a layer.
struct Place {
    node: Option<String>,
    layer: usize,
    width: f64,
    /// The middle.
    x: f64,
}

/// An arrow, by the places that it goes through from the top.
struct Arrow {
    places: Vec<usize>,
    is_implied: bool,
}

/// Draws a graph without circles. `programs` are other crates; what is in `base` is one bar at the foot, without arrows.
pub fn draw(graph: &Graph, programs: &BTreeSet<&str>, base: &BTreeSet<&str>) -> String {
    let graph = graph.only(|node| !base.contains(node));
    let (mut places, arrows) = places(&graph);
    let layers = arrange(&mut places, &arrows);
    let left = places.iter().map(|place| place.x - place.width / 2.0).fold(f64::INFINITY, f64::min);
    places.iter_mut().for_each(|place| place.x += MARGIN - left);
    let right = places.iter().map(|place| place.x + place.width / 2.0).fold(0.0, f64::max);
    let bar = base.iter().copied().collect::<Vec<_>>().join("  ·  ");
    let width = (right + MARGIN).max(text_width(&bar) + 4.0 * MARGIN).round();
    let shift = (width - right - MARGIN) / 2.0;
    places.iter_mut().for_each(|place| place.x = (place.x + shift).round());

    let top = |layer: usize| MARGIN + (layers - 1 - layer) as f64 * LAYER;
    let foot = top(0) + LAYER;
    let height = foot + BOX_HEIGHT + MARGIN + 34.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"15\" text-anchor=\"middle\">\n<title>The folders of the library, each \
         above all that it uses</title>\n"
    );
    // Each colour is legible on a light and on a dark ground; boxes bring their own.
    let ends = ends(&places, &arrows);
    for (arrow, (start, end)) in arrows.iter().zip(ends) {
        svg += &path(arrow, &places, (start, end), &top);
    }
    for place in &places {
        let Some(node) = &place.node else { continue };
        let (fill, stroke) =
            if programs.contains(node.as_str()) { ("#f6e8d5", "#b8792a") } else { ("#e3ecf5", "#4a6fa5") };
        rectangle(&mut svg, [place.x, top(place.layer), place.width], [fill, stroke], node);
    }
    if !base.is_empty() {
        rectangle(&mut svg, [width / 2.0, foot, width - 2.0 * MARGIN], ["#e8e8e8", "#8a8a8a"], &bar);
    }
    let note = "dashed: follows from the others.  At the foot: one file each, for all folders.";
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" font-size=\"12\" fill=\"#7b8794\">{note}</text>\n</svg>",
        width / 2.0,
        foot + BOX_HEIGHT + 30.0
    );
    svg
}

fn places(graph: &Graph) -> (Vec<Place>, Vec<Arrow>) {
    let layers = graph.layers();
    let mut places: Vec<Place> = Vec::new();
    let mut at = BTreeMap::new();
    for node in graph.nodes() {
        at.insert(node, places.len());
        let width = (text_width(node) + 34.0).max(96.0);
        places.push(Place { node: Some(node.to_string()), layer: layers[node], width, x: 0.0 });
    }
    let mut arrows = Vec::new();
    for from in graph.nodes() {
        for to in graph.used_by(from) {
            let mut way = vec![at[from]];
            for layer in (layers[to] + 1..layers[from]).rev() {
                way.push(places.len());
                places.push(Place { node: None, layer, width: LANE, x: 0.0 });
            }
            way.push(at[to]);
            arrows.push(Arrow { places: way, is_implied: graph.is_implied(from, to) });
        }
    }
    (places, arrows)
}

/// Orders and sets the places of each layer; the number of layers.
fn arrange(places: &mut [Place], arrows: &[Arrow]) -> usize {
    let count = places.iter().map(|place| place.layer + 1).max().unwrap_or(1);
    let mut layers: Vec<Vec<usize>> = vec![Vec::new(); count];
    (0..places.len()).for_each(|at| layers[places[at].layer].push(at));
    let steps: Vec<[usize; 2]> =
        arrows.iter().flat_map(|arrow| arrow.places.windows(2).map(|step| [step[0], step[1]])).collect();
    for layer in &layers {
        pack(places, layer);
    }
    let mut best = (crossings(places, &steps), layers.clone());
    for sweep in 0..SWEEPS {
        // Down with the places above, then up with those below.
        let downwards = sweep % 2 == 0;
        for at in 0..count {
            let layer = &mut layers[if downwards { count - 1 - at } else { at }];
            let mut keyed: Vec<(f64, usize)> = layer
                .iter()
                .map(|&place| (neighbours(places, &steps, place, Some(downwards)), place))
                .collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            *layer = keyed.into_iter().map(|(_, place)| place).collect();
            pack(places, layer);
        }
        let crossed = crossings(places, &steps);
        if crossed < best.0 {
            best = (crossed, layers.clone());
        }
    }
    for layer in &best.1 {
        pack(places, layer);
    }
    for _ in 0..SWEEPS {
        for layer in &best.1 {
            let wanted: Vec<f64> =
                layer.iter().map(|&place| neighbours(places, &steps, place, None)).collect();
            relax(places, layer, &wanted);
        }
    }
    count
}

/// The mean of the places that arrows lead to and from: all, or only those above (`true`) or below.
fn neighbours(places: &[Place], steps: &[[usize; 2]], place: usize, above: Option<bool>) -> f64 {
    let near: Vec<f64> = steps
        .iter()
        .filter_map(|&[from, to]| match above {
            Some(true) | None if to == place => Some(places[from].x),
            Some(false) | None if from == place => Some(places[to].x),
            _ => None,
        })
        .collect();
    if near.is_empty() { places[place].x } else { near.iter().sum::<f64>() / near.len() as f64 }
}

fn distance(places: &[Place], left: usize, right: usize) -> f64 {
    (places[left].width + places[right].width) / 2.0 + GAP
}

/// Sets a layer one place beside the other, about 0.
fn pack(places: &mut [Place], layer: &[usize]) {
    let mut x = 0.0;
    for (at, &place) in layer.iter().enumerate() {
        if at > 0 {
            x += distance(places, layer[at - 1], place);
        }
        places[place].x = x;
    }
    layer.iter().for_each(|&place| places[place].x -= x / 2.0);
}

/// Sets the places of a layer as near to where they want to be as their order and widths allow: between the closest to the
/// left and the closest to the right.
fn relax(places: &mut [Place], layer: &[usize], wanted: &[f64]) {
    let (mut right, mut left) = (wanted.to_vec(), wanted.to_vec());
    for at in 1..layer.len() {
        right[at] = right[at].max(right[at - 1] + distance(places, layer[at - 1], layer[at]));
    }
    for at in (1..layer.len()).rev() {
        left[at - 1] = left[at - 1].min(left[at] - distance(places, layer[at - 1], layer[at]));
    }
    for (at, &place) in layer.iter().enumerate() {
        places[place].x = (left[at] + right[at]) / 2.0;
    }
}

fn crossings(places: &[Place], steps: &[[usize; 2]]) -> usize {
    let mut count = 0;
    for (at, &[a, b]) in steps.iter().enumerate() {
        for &[c, d] in &steps[at + 1..] {
            let (above, below) = (places[a].x - places[c].x, places[b].x - places[d].x);
            count += usize::from(places[a].layer == places[c].layer && above * below < 0.0);
        }
    }
    count
}

/// Where each arrow leaves its first box and meets its last: spread along the edge, in the order of where they go.
fn ends(places: &[Place], arrows: &[Arrow]) -> Vec<(f64, f64)> {
    let mut ends = vec![(0.0, 0.0); arrows.len()];
    for (at, place) in places.iter().enumerate() {
        let spread = |mut of: Vec<(usize, f64)>| {
            of.sort_by(|a, b| a.1.total_cmp(&b.1));
            let (count, width) = (of.len() as f64, place.width - 24.0);
            let step = (width / count.max(1.0)).min(18.0);
            let set = of.into_iter().enumerate();
            set.map(|(number, (arrow, _))| {
                (arrow, (place.x + (number as f64 - (count - 1.0) / 2.0) * step).round())
            })
            .collect::<Vec<_>>()
        };
        let leaving = arrows.iter().enumerate().filter(|(_, arrow)| arrow.places[0] == at);
        for (arrow, x) in spread(leaving.map(|(number, arrow)| (number, places[arrow.places[1]].x)).collect())
        {
            ends[arrow].0 = x;
        }
        let meeting = arrows.iter().enumerate().filter(|(_, arrow)| arrow.places.last() == Some(&at));
        let before = |arrow: &Arrow| places[arrow.places[arrow.places.len() - 2]].x;
        for (arrow, x) in spread(meeting.map(|(number, arrow)| (number, before(arrow))).collect()) {
            ends[arrow].1 = x;
        }
    }
    ends
}

fn path(arrow: &Arrow, places: &[Place], (start, end): (f64, f64), top: &impl Fn(usize) -> f64) -> String {
    let last = arrow.places.len() - 1;
    let mut y = top(places[arrow.places[0]].layer) + BOX_HEIGHT;
    let mut x = start;
    let mut line = format!("M{x},{y}");
    for (number, &at) in arrow.places.iter().enumerate().skip(1) {
        let tip = if number == last { 7.0 } else { 0.0 };
        let (to_x, to_y) = (if number == last { end } else { places[at].x }, top(places[at].layer) - tip);
        let half = (y + to_y) / 2.0;
        let _ = write!(line, " C{x},{half} {to_x},{half} {to_x},{to_y}");
        (x, y) = (to_x, to_y);
        if number < last {
            y += BOX_HEIGHT;
            let _ = write!(line, " V{y}");
        }
    }
    let style =
        if arrow.is_implied { "stroke-width=\"1\" stroke-dasharray=\"4 4\"" } else { "stroke-width=\"1.8\"" };
    let tip = format!("M{},{y} h9 l-4.5,7 z", x - 4.5);
    format!(
        "<path d=\"{line}\" fill=\"none\" stroke=\"#7b8794\" {style}/>\n<path d=\"{tip}\" fill=\"#7b8794\"/>\n"
    )
}

fn rectangle(svg: &mut String, [x, y, width]: [f64; 3], [fill, stroke]: [&str; 2], text: &str) {
    let left = x - width / 2.0;
    let _ = writeln!(
        svg,
        "<rect x=\"{left}\" y=\"{y}\" width=\"{width}\" height=\"{BOX_HEIGHT}\" rx=\"5\" fill=\"{fill}\" stroke=\"{stroke}\"/>\n\
         <text x=\"{x}\" y=\"{}\" fill=\"#16212e\">{text}</text>",
        y + BOX_HEIGHT / 2.0 + 5.0
    );
}

/// About as wide as a text is in a sans-serif font of 15 pixels.
fn text_width(text: &str) -> f64 {
    (text.chars().count() as f64 * 8.4).round()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let mut graph = Graph::default();
        let edges = [
            ("crates/cli", "report"),
            ("crates/cli", "tables"),
            ("report", "method"),
            ("report", "tables"),
            ("method", "tables"),
            ("model", "tables"),
            ("model", "error"),
            ("tables", "error"),
        ];
        for (from, to) in edges {
            graph.add(from, to, String::new());
        }
        graph
    }

    #[test]
    fn boxes_are_apart_and_arrows_lead_down() {
        let graph = graph().only(|node| node != "error");
        let (mut places, arrows) = places(&graph);
        let layers = arrange(&mut places, &arrows);
        assert_eq!(layers, 4);
        for arrow in &arrows {
            let down = arrow.places.windows(2).all(|step| places[step[0]].layer == places[step[1]].layer + 1);
            assert!(down);
        }
        for (at, one) in places.iter().enumerate() {
            for other in places[at + 1..].iter().filter(|other| other.layer == one.layer) {
                let apart = (one.x - other.x).abs() - (one.width + other.width) / 2.0;
                assert!(apart > 0.0, "{apart}");
            }
        }
    }

    #[test]
    fn each_folder_is_drawn_once_and_each_use_is_an_arrow() {
        let (programs, base) = (["crates/cli"].into(), ["error"].into());
        let svg = draw(&graph(), &programs, &base);
        for node in ["crates/cli", "report", "method", "model", "tables", "error"] {
            assert_eq!(svg.matches(&format!(">{node}</text>")).count(), 1, "{node}");
        }
        assert_eq!(svg.matches("fill=\"none\"").count(), 6);
        assert_eq!(svg.matches("stroke-dasharray").count(), 2);
        assert_eq!(svg, draw(&graph(), &programs, &base));
    }
}
