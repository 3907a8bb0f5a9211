//! Line plots as SVG.

use crate::table::number;

/// One line.
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A plot. The vertical axis is logarithmic.
pub struct Plot {
    /// The title.
    pub title: String,
    /// The label of the horizontal axis.
    pub x_title: String,
    /// The label of the vertical axis.
    pub y_title: String,
    /// The labelled positions on the horizontal axis.
    pub x_ticks: Vec<(f64, String)>,
    /// The lines.
    pub lines: Vec<Line>,
}

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 600.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 380.0;
/// Colours that are distinguishable with colour blindness, and in greyscale by their order.
const COLOURS: [&str; 9] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999", "#8b4513"];

/// Text escaped for XML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn text(x: f64, y: f64, anchor: &str, extra: &str, content: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{extra}>{}</text>\n", escape(content))
}

impl Plot {
    /// The decades that contain all values.
    fn decades(&self) -> (i32, i32) {
        let values = || self.lines.iter().flat_map(|line| &line.points).map(|point| point.1.log10());
        let low = values().fold(f64::INFINITY, f64::min).floor();
        let high = values().fold(f64::NEG_INFINITY, f64::max).ceil();
        (low as i32, (high as i32).max(low as i32 + 1))
    }

    /// The image, or nothing without points.
    pub fn svg(&self) -> Option<String> {
        let finite = |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite() && y > 0.0;
        if self.lines.is_empty() || !self.lines.iter().all(|line| line.points.iter().all(finite)) {
            return None;
        }
        let (first, last) = (self.x_ticks.first()?.0, self.x_ticks.last()?.0);
        let (low, high) = self.decades();
        let x_at = |x: f64| LEFT + (x - first) / (last - first).max(f64::EPSILON) * (RIGHT - LEFT);
        let y_at = |y: f64| BOTTOM - (y.log10() - f64::from(low)) / f64::from(high - low) * (BOTTOM - TOP);

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        svg += &text((LEFT + RIGHT) / 2.0, 24.0, "middle", " font-size=\"15\"", &self.title);
        for decade in low..=high {
            let value = 10f64.powi(decade);
            let y = y_at(value);
            svg += &format!("<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#ddd\"/>\n");
            svg += &text(LEFT - 8.0, y + 4.0, "end", "", &number(value));
        }
        for (x, name) in &self.x_ticks {
            let x = x_at(*x);
            svg += &format!("<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"#eee\"/>\n");
            svg += &text(x, BOTTOM + 18.0, "middle", "", name);
        }
        svg += &text((LEFT + RIGHT) / 2.0, BOTTOM + 42.0, "middle", "", &self.x_title);
        let turned = format!(" transform=\"rotate(-90 18 {})\"", (TOP + BOTTOM) / 2.0);
        svg += &text(18.0, (TOP + BOTTOM) / 2.0, "middle", &turned, &self.y_title);
        for (n, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            let points: Vec<String> =
                line.points.iter().map(|&(x, y)| format!("{:.1},{:.1}", x_at(x), y_at(y))).collect();
            let path = points.join(" ");
            svg += &format!(
                "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n"
            );
            let y = TOP + 10.0 + 20.0 * n as f64;
            let (from, to) = (RIGHT + 16.0, RIGHT + 38.0);
            svg += &format!("<path d=\"M{from} {y}H{to}\" stroke=\"{colour}\" stroke-width=\"3\"/>\n");
            svg += &text(to + 6.0, y + 4.0, "start", "", &line.name);
        }
        svg += "</svg>\n";
        Some(svg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> Plot {
        Plot {
            title: "a < b & c".into(),
            x_title: "x".into(),
            y_title: "y".into(),
            x_ticks: vec![(0.0, "zero".into()), (2.0, "two".into())],
            lines: vec![Line { name: "line".into(), points }],
        }
    }

    #[test]
    fn points_lie_where_they_should() {
        let svg = plot(vec![(0.0, 0.1), (1.0, 1.0), (2.0, 10.0)]).svg().unwrap();
        assert!(svg.contains("points=\"70.0,380.0 335.0,210.0 600.0,40.0\""), "{svg}");
        assert!(svg.contains("a &lt; b &amp; c") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn undrawable_plot_is_omitted() {
        assert!(plot(vec![(0.0, f64::NAN)]).svg().is_none());
        assert!(plot(vec![(0.0, 0.0)]).svg().is_none());
        assert!(Plot { lines: Vec::new(), ..plot(Vec::new()) }.svg().is_none());
        assert!(plot(vec![(0.0, 1.0)]).svg().is_some());
    }
}
