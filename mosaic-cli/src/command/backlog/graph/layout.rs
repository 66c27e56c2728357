//! Where the boxes of a drawing stand: in layers from left to right, so that every arrow points to the
//! right, ordered in each layer so that few arrows cross.
//!
//! This is the usual layered layout: the longest path gives the layer, an arrow over several layers
//! gets a point in each, and each layer is ordered by the mean of its neighbours, forth and back.

use std::collections::VecDeque;

use super::drawing::Drawing;

const SWEEPS: usize = 8;

/// Coordinates in steps: a layer to the right, a row down. An arrow leads through points.
pub struct Layout {
    pub boxes: Vec<(usize, f64)>,
    pub arrows: Vec<Vec<(usize, f64)>>,
    pub layers: usize,
    pub rows: f64,
}

pub fn of(drawing: &Drawing) -> Layout {
    let count = drawing.boxes.len();
    let mut after = vec![Vec::new(); count];
    let mut before = vec![Vec::new(); count];
    for arrow in &drawing.arrows {
        after[arrow.from].push(arrow.to);
        before[arrow.to].push(arrow.from);
    }
    let layer = layers(&before, &after);
    let mut layout = Layout {
        boxes: vec![(0, 0.0); count],
        arrows: vec![Vec::new(); drawing.arrows.len()],
        layers: layer.iter().max().map_or(0, |last| last + 1),
        rows: 0.0,
    };
    let (parts, single) = parts(&before, &after);
    let mut part_of = vec![usize::MAX; count];
    for (number, part) in parts.iter().enumerate() {
        for one in part {
            part_of[*one] = number;
        }
    }
    let mut arrows_of = vec![Vec::new(); parts.len()];
    for (number, arrow) in drawing.arrows.iter().enumerate() {
        arrows_of[part_of[arrow.from]].push(number);
    }
    // Parts that no arrow joins stand one below the other.
    for (part, arrows) in parts.iter().zip(&arrows_of) {
        Part::new(drawing, &layer, part, arrows).place(&mut layout);
    }
    // What is alone fills the lines below.
    let across = layout.layers.max(4);
    layout.layers = layout.layers.max(across.min(single.len()));
    for (number, one) in single.iter().enumerate() {
        layout.boxes[*one] = (number % across, layout.rows + (number / across) as f64);
    }
    layout.rows += single.len().div_ceil(across) as f64;
    layout
}

/// The longest way to each box. One that nothing leads to stands right before what it leads to.
fn layers(before: &[Vec<usize>], after: &[Vec<usize>]) -> Vec<usize> {
    let mut layer = vec![0; before.len()];
    let mut missing: Vec<usize> = before.iter().map(Vec::len).collect();
    let mut next: VecDeque<usize> = (0..before.len()).filter(|one| missing[*one] == 0).collect();
    while let Some(one) = next.pop_front() {
        for other in &after[one] {
            layer[*other] = layer[*other].max(layer[one] + 1);
            missing[*other] -= 1;
            if missing[*other] == 0 {
                next.push_back(*other);
            }
        }
    }
    for one in (0..before.len()).filter(|one| before[*one].is_empty()) {
        if let Some(first) = after[one].iter().map(|other| layer[*other]).min() {
            layer[one] = first - 1;
        }
    }
    layer
}

/// The parts that arrows hold together, and the boxes without any.
fn parts(before: &[Vec<usize>], after: &[Vec<usize>]) -> (Vec<Vec<usize>>, Vec<usize>) {
    let mut parts = Vec::new();
    let mut single = Vec::new();
    let mut seen = vec![false; before.len()];
    for first in 0..before.len() {
        if before[first].is_empty() && after[first].is_empty() {
            single.push(first);
            continue;
        }
        if seen[first] {
            continue;
        }
        seen[first] = true;
        let mut part = vec![first];
        let mut at = 0;
        while let Some(one) = part.get(at).copied() {
            at += 1;
            for other in before[one].iter().chain(&after[one]) {
                if !seen[*other] {
                    seen[*other] = true;
                    part.push(*other);
                }
            }
        }
        parts.push(part);
    }
    (parts, single)
}

/// A part with its layers. Its points are the boxes, and those of the arrows between them.
struct Part<'a> {
    boxes: &'a [usize],
    arrows: &'a [usize],
    /// The points that each arrow leads through, its ends included.
    ways: Vec<Vec<usize>>,
    layer: Vec<usize>,
    /// The points of each layer from top to bottom.
    layers: Vec<Vec<usize>>,
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
    y: Vec<f64>,
}

impl<'a> Part<'a> {
    fn new(drawing: &Drawing, layer: &[usize], boxes: &'a [usize], arrows: &'a [usize]) -> Self {
        let place: std::collections::HashMap<usize, usize> = boxes
            .iter()
            .enumerate()
            .map(|(point, one)| (*one, point))
            .collect();
        let mut part = Part {
            boxes,
            arrows,
            ways: Vec::new(),
            layer: boxes.iter().map(|one| layer[*one]).collect(),
            layers: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            y: Vec::new(),
        };
        for arrow in arrows.iter().map(|number| &drawing.arrows[*number]) {
            let (from, to) = (place[&arrow.from], place[&arrow.to]);
            let mut way = vec![from];
            for between in part.layer[from] + 1..part.layer[to] {
                way.push(part.layer.len());
                part.layer.push(between);
            }
            way.push(to);
            part.ways.push(way);
        }
        let points = part.layer.len();
        part.before = vec![Vec::new(); points];
        part.after = vec![Vec::new(); points];
        for step in part.ways.iter().flat_map(|way| way.windows(2)) {
            part.after[step[0]].push(step[1]);
            part.before[step[1]].push(step[0]);
        }
        let last = part.layer.iter().max().copied().unwrap_or(0);
        part.layers = vec![Vec::new(); last + 1];
        for (point, layer) in part.layer.iter().enumerate() {
            part.layers[*layer].push(point);
        }
        part.y = vec![0.0; points];
        for layer in &part.layers {
            for (row, point) in layer.iter().enumerate() {
                part.y[*point] = row as f64;
            }
        }
        part
    }

    fn place(mut self, layout: &mut Layout) {
        for sweep in 0..SWEEPS {
            self.sweep(sweep % 2 == 0, true);
        }
        // The order stands; now the points move towards their neighbours.
        for sweep in 0..SWEEPS {
            self.sweep(sweep % 2 == 1, false);
        }
        let top = self.y.iter().copied().fold(f64::INFINITY, f64::min);
        let bottom = self.y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let down = layout.rows - top;
        for (point, one) in self.boxes.iter().enumerate() {
            layout.boxes[*one] = (self.layer[point], self.y[point] + down);
        }
        for (way, number) in self.ways.iter().zip(self.arrows) {
            layout.arrows[*number] = way
                .iter()
                .map(|point| (self.layer[*point], self.y[*point] + down))
                .collect();
        }
        layout.rows += bottom - top + 1.0;
    }

    fn sweep(&mut self, forth: bool, reorder: bool) {
        let count = self.layers.len();
        for step in 0..count {
            let number = if forth { step } else { count - 1 - step };
            let links = if forth { &self.before } else { &self.after };
            let mut wanted: Vec<(f64, usize)> = self.layers[number]
                .iter()
                .map(|point| {
                    (
                        mean(&links[*point], &self.y).unwrap_or(self.y[*point]),
                        *point,
                    )
                })
                .collect();
            if reorder {
                wanted.sort_by(|a, b| a.0.total_cmp(&b.0));
            }
            for ((_, point), y) in wanted.iter().zip(apart(&wanted)) {
                self.y[*point] = y;
            }
            self.layers[number] = wanted.into_iter().map(|(_, point)| point).collect();
        }
    }
}

fn mean(points: &[usize], y: &[f64]) -> Option<f64> {
    let sum: f64 = points.iter().map(|point| y[*point]).sum();
    (!points.is_empty()).then(|| sum / points.len() as f64)
}

/// Rows at least one apart, in this order, as near to the wanted ones as the mean allows.
fn apart(wanted: &[(f64, usize)]) -> Vec<f64> {
    let mut rows: Vec<f64> = Vec::with_capacity(wanted.len());
    for (y, _) in wanted {
        let least = rows.last().map_or(f64::NEG_INFINITY, |last| last + 1.0);
        rows.push(y.max(least));
    }
    let too_low: f64 = rows.iter().zip(wanted).map(|(row, (y, _))| row - y).sum();
    let back = too_low / rows.len().max(1) as f64;
    rows.iter().map(|row| row - back).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::backlog::graph::dag::tests::dag;
    use crate::command::backlog::graph::picture::{Picture, Subgraph};

    fn layout(lines: &[&str]) -> (Drawing, Layout) {
        let dag = dag(lines);
        let drawing = Drawing::of(&Picture::new(&dag, Subgraph::everything(&dag), true));
        let layout = of(&drawing);
        (drawing, layout)
    }

    fn check(drawing: &Drawing, layout: &Layout) {
        for (arrow, way) in drawing.arrows.iter().zip(&layout.arrows) {
            assert_eq!(way[0], layout.boxes[arrow.from]);
            assert_eq!(way[way.len() - 1], layout.boxes[arrow.to]);
            assert!(way.windows(2).all(|step| step[0].0 + 1 == step[1].0));
        }
        for (number, (layer, y)) in layout.boxes.iter().enumerate() {
            assert!(*layer < layout.layers && *y > -0.001 && *y < layout.rows - 0.999);
            for (other, other_y) in &layout.boxes[..number] {
                assert!(
                    other != layer || (other_y - y).abs() > 0.999,
                    "two boxes overlap"
                );
            }
        }
    }

    #[test]
    fn arrows_point_to_the_right_and_no_boxes_overlap() {
        let (drawing, layout) = layout(&[
            "G: C D E A",
            "C: A",
            "D: A B",
            "E: B C",
            "A",
            "B",
            "X: Y",
            "Y",
            "alone",
            "Z",
        ]);
        check(&drawing, &layout);
        // A row of its own for each, but for those that stand alone.
        assert!(layout.rows < 10.0, "{}", layout.rows);
    }

    #[test]
    fn a_thousand_cards_find_their_places() {
        let lines: Vec<String> = (0..1_000)
            .map(|n| match n {
                0..50 => format!("c{n}"),
                n => format!("c{n}: c{} c{} c{}", n * 7 % 50, n - 50, n - 1 - n % 49),
            })
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let (drawing, layout) = layout(&lines);
        check(&drawing, &layout);
    }

    #[test]
    fn straight_chains_are_drawn_straight() {
        let (_, layout) = layout(&["C: B", "B: A", "A"]);
        let rows: Vec<f64> = layout.boxes.iter().map(|(_, y)| *y).collect();
        assert_eq!(rows, [0.0, 0.0, 0.0]);
        assert_eq!((layout.layers, layout.rows), (3, 1.0));
    }
}
