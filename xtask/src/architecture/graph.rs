//! Who uses whom: circles, layers, and what follows from the rest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// For each node those that it uses, each with what shows it.
#[derive(Debug, Default)]
pub struct Graph {
    uses: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl Graph {
    pub fn add_node(&mut self, node: &str) {
        self.uses.entry(node.to_string()).or_default();
    }

    /// `from` uses `to`, as `evidence` shows.
    pub fn add(&mut self, from: &str, to: &str, evidence: String) {
        self.add_node(to);
        if from != to {
            let used = self.uses.entry(from.to_string()).or_default();
            used.entry(to.to_string()).or_default().insert(evidence);
        }
    }

    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.uses.keys().map(String::as_str)
    }

    pub fn used_by(&self, node: &str) -> impl Iterator<Item = &str> {
        self.uses.get(node).into_iter().flat_map(|used| used.keys()).map(String::as_str)
    }

    pub fn evidence(&self, from: &str, to: &str) -> impl Iterator<Item = &str> {
        let found = self.uses.get(from).and_then(|used| used.get(to));
        found.into_iter().flatten().map(String::as_str)
    }

    /// The graph of some of the nodes.
    pub fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        let kept = |used: &BTreeMap<String, BTreeSet<String>>| {
            let used = used.iter().filter(|(to, _)| keep(to));
            used.map(|(to, evidence)| (to.clone(), evidence.clone())).collect()
        };
        let nodes = self.uses.iter().filter(|(node, _)| keep(node));
        Self { uses: nodes.map(|(node, used)| (node.clone(), kept(used))).collect() }
    }

    /// A shortest circle through each node that is in one, each circle once and from its first node on.
    pub fn circles(&self) -> Vec<Vec<&str>> {
        let circles = self.nodes().filter_map(|node| {
            let mut circle = self.shortest(node, node)?;
            circle.pop();
            let first = (0..circle.len()).min_by_key(|&at| circle[at])?;
            circle.rotate_left(first);
            Some(circle)
        });
        circles.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The nodes of a shortest way of at least one step, both ends included.
    fn shortest<'a>(&'a self, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut open = VecDeque::from([from]);
        while let Some(node) = open.pop_front() {
            for next in self.used_by(node) {
                if next == to {
                    let mut way = vec![next, node];
                    while way[way.len() - 1] != from {
                        way.push(before[way[way.len() - 1]]);
                    }
                    way.reverse();
                    return Some(way);
                }
                if next != from && !before.contains_key(next) {
                    before.insert(next, node);
                    open.push_back(next);
                }
            }
        }
        None
    }

    /// The layer of each node, from 0 at the bottom: each node is above all that it uses. Only for graphs without circles.
    pub fn layers(&self) -> BTreeMap<&str, usize> {
        fn layer<'a>(graph: &'a Graph, node: &'a str, known: &mut BTreeMap<&'a str, usize>) -> usize {
            if let Some(&layer) = known.get(node) {
                return layer;
            }
            let above = graph.used_by(node).map(|used| layer(graph, used, known) + 1).max().unwrap_or(0);
            known.insert(node, above);
            above
        }
        let mut known = BTreeMap::new();
        for node in self.nodes() {
            layer(self, node, &mut known);
        }
        known
    }

    /// Whether `from` uses something else that uses `to`, directly or not.
    pub fn is_implied(&self, from: &str, to: &str) -> bool {
        self.used_by(from).any(|between| between != to && self.shortest(between, to).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to) in edges {
            graph.add(from, to, format!("{from} to {to}"));
        }
        graph
    }

    #[test]
    fn a_node_is_above_all_that_it_uses() {
        let graph =
            graph(&[("report", "geometry"), ("report", "error"), ("geometry", "error"), ("atomic", "error")]);
        assert_eq!(graph.circles(), Vec::<Vec<&str>>::new());
        let layers = graph.layers();
        assert!(graph.nodes().all(|node| graph.used_by(node).all(|used| layers[node] > layers[used])));
        assert_eq!((layers["error"], layers["report"]), (0, 2));
        assert!(graph.is_implied("report", "error") && !graph.is_implied("report", "geometry"));
    }

    #[test]
    fn each_circle_is_found_once() {
        let graph =
            graph(&[("b", "c"), ("c", "a"), ("a", "b"), ("d", "a"), ("d", "e"), ("e", "d"), ("f", "f")]);
        assert_eq!(graph.circles(), [vec!["a", "b", "c"], vec!["d", "e"]]);
        assert_eq!(graph.evidence("d", "e").collect::<Vec<_>>(), ["d to e"]);
        assert_eq!(graph.only(|node| node != "a").circles(), [vec!["d", "e"]]);
    }
}
