//! The rate of claims over the cards claimed, as SVG.

use std::fmt::Write;

pub struct Line {
    pub name: String,
    pub colour: &'static str,
    /// Cards claimed, and claims a second.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 310.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 700.0;

pub fn svg(title: &str, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let most = all().map(|point| point.0).fold(1.0, f64::max);
    let fastest = all().map(|point| point.1).fold(1.0, f64::max) * 1.05;
    let x = |claimed: f64| LEFT + claimed / most * (RIGHT - LEFT);
    let y = |rate: f64| BOTTOM - rate / fastest * (BOTTOM - TOP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{title}</text>\n"
    );
    for step in 0..=4 {
        let part = f64::from(step) / 4.0;
        let (px, py) = (x(most * part), y(fastest * part));
        let _ = write!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{py:.1}\" x2=\"{RIGHT}\" y2=\"{py:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0}</text>\n\
             <text x=\"{px:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0}</text>\n",
            LEFT - 6.0,
            py + 4.0,
            fastest * part,
            BOTTOM + 16.0,
            most * part,
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">cards claimed</text>",
        f64::midpoint(LEFT, RIGHT),
        BOTTOM + 34.0
    );
    for (number, line) in lines.iter().enumerate() {
        let points: Vec<String> = line
            .points
            .iter()
            .map(|(claimed, rate)| format!("{:.1},{:.1}", x(*claimed), y(*rate)))
            .collect();
        let height = TOP + 16.0 * number as f64;
        let _ = write!(
            out,
            "<polyline fill=\"none\" stroke=\"{0}\" stroke-width=\"2\" points=\"{1}\"/>\n\
             <text x=\"{2:.1}\" y=\"{height:.1}\" text-anchor=\"end\" fill=\"{0}\">{3}</text>\n",
            line.colour,
            points.join(" "),
            RIGHT,
            line.name
        );
    }
    out.push_str("</svg>\n");
    out
}
