//! The sweep as a picture: two panels of logarithmic axes, measured times and the floor below them.

use crate::record::{Point, Sweep};
use std::fmt::Write as _;

/// Pixels of a panel's field, and around it.
const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 60.0;
const GAP: f64 = 90.0;
const BOTTOM: f64 = 60.0;

const MEASURED: &str = "#0b62a4";
const FLOOR: &str = "#b5541c";

/// What a panel puts to the right.
struct Panel<'a> {
    title: &'a str,
    points: Vec<(f64, &'a Point)>,
    label: fn(f64) -> String,
}

/// An SVG file.
pub fn plot(sweep: &Sweep, device: &str) -> String {
    let smallest = sweep.points.iter().map(|p| p.side).min().unwrap_or(0);
    let pixels = |p: &Point| (p.side * p.side) as f64;
    let title = format!("batch, at {smallest}x{smallest} pixels");
    let panels = [
        Panel {
            title: "pixels, batch 1",
            points: sweep.points.iter().filter(|p| p.batch_size == 1).map(|p| (pixels(p), p)).collect(),
            label: |x| format!("{:.0}²", x.sqrt()),
        },
        Panel {
            title: &title,
            points: sweep
                .points
                .iter()
                .filter(|p| p.side == smallest)
                .map(|p| (p.batch_size as f64, p))
                .collect(),
            label: |x| format!("{x:.0}"),
        },
    ];
    let total_width = LEFT + 2.0 * WIDTH + GAP + 30.0;
    let total_height = TOP + HEIGHT + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {total_width} {total_height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let heading = format!("{} at {} on {device}: milliseconds a guided step", sweep.model, sweep.dtype);
    text(&mut svg, LEFT, 24.0, "start", "black", &heading);
    text(&mut svg, LEFT, 44.0, "start", MEASURED, "● measured (median, least to most)");
    text(
        &mut svg,
        LEFT + 230.0,
        44.0,
        "start",
        FLOOR,
        "● floor (arithmetic or weights, at measured ceilings)",
    );
    for (i, panel) in panels.iter().enumerate() {
        panel.draw(&mut svg, LEFT + i as f64 * (WIDTH + GAP));
    }
    svg.push_str("</svg>\n");
    svg
}

impl Panel<'_> {
    fn draw(&self, svg: &mut String, left: f64) {
        let Some(x) = Axis::over(self.points.iter().map(|(x, _)| *x), 1.1) else { return };
        let times = self.points.iter().flat_map(|(_, p)| [p.floor, p.step.min, p.step.max]).map(|s| s * 1e3);
        let Some(y) = Axis::over(times, 1.3) else { return };
        let at = |(px, ms): (f64, f64)| (left + WIDTH * x.part(px), TOP + HEIGHT * (1.0 - y.part(ms)));
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{TOP}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#999\"/>"
        );
        for ms in y.ticks() {
            let (_, top) = at((x.low, ms));
            line(svg, (left, top), (left + WIDTH, top), "#ddd", 1.0);
            text(svg, left - 6.0, top + 4.0, "end", "black", &number(ms));
        }
        for (value, _) in &self.points {
            let (middle, bottom) = at((*value, y.low));
            line(svg, (middle, bottom), (middle, bottom + 5.0), "#999", 1.0);
            text(svg, middle, bottom + 20.0, "middle", "black", &(self.label)(*value));
        }
        text(svg, left + WIDTH / 2.0, TOP + HEIGHT + 42.0, "middle", "black", self.title);
        for colour in [FLOOR, MEASURED] {
            let seconds = |p: &Point| if colour == FLOOR { p.floor } else { p.step.median };
            let mut places: Vec<(f64, f64)> =
                self.points.iter().map(|(v, p)| at((*v, seconds(p) * 1e3))).collect();
            places.sort_by(|a, b| a.0.total_cmp(&b.0));
            places.windows(2).for_each(|w| line(svg, w[0], w[1], colour, 1.5));
            for (cx, cy) in places {
                let _ = writeln!(svg, "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
            }
        }
        for (value, p) in &self.points {
            line(svg, at((*value, p.step.min * 1e3)), at((*value, p.step.max * 1e3)), MEASURED, 3.0);
        }
    }
}

/// A logarithmic axis.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// Over all positive values, with some room at both ends; none where there are none.
    fn over(values: impl Iterator<Item = f64>, room: f64) -> Option<Self> {
        let (low, high) = values
            .filter(|v| *v > 0.0)
            .fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
        (high > 0.0).then_some(Self { low: low / room, high: high * room })
    }

    /// Where a value lies, 0 to 1.
    fn part(&self, value: f64) -> f64 {
        ((value.max(self.low) / self.low).ln() / (self.high / self.low).ln()).clamp(0.0, 1.0)
    }

    /// 1, 2 and 5 times the powers of ten; the powers alone where the axis is long.
    fn ticks(&self) -> Vec<f64> {
        let steps: &[f64] = if self.high / self.low > 300.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let powers = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let all = powers.flat_map(|p| steps.iter().map(move |s| s * 10f64.powi(p)));
        all.filter(|t| (self.low..=self.high).contains(t)).collect()
    }
}

fn number(ms: f64) -> String {
    if ms >= 1.0 { format!("{ms:.0}") } else { format!("{ms}") }
}

fn line(svg: &mut String, a: (f64, f64), b: (f64, f64), colour: &str, width: f64) {
    let ((x1, y1), (x2, y2)) = (a, b);
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, colour: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_logarithmic() {
        let axis = Axis { low: 1.0, high: 100.0 };
        assert_eq!((axis.part(1.0), axis.part(10.0), axis.part(100.0)), (0.0, 0.5, 1.0));
        assert_eq!(axis.ticks(), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert!(Axis::over(std::iter::empty(), 1.1).is_none());
    }
}
