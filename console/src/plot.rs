//! Plots as SVG. The colors are names for the style sheet, which gives each of them a color that
//! suits the light or the dark scheme: a fill of `#000003` is that of the series.

use crate::words::number;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Wide enough for a desktop, and still readable when it is shrunk to the width of a phone.
const WIDTH: u32 = 480;
const HEIGHT: u32 = 210;
/// Three of these stand side by side on a desktop.
const NARROW: u32 = 340;
const ROW: u32 = 38;
const TEXT: RGBColor = RGBColor(0, 0, 1);
const LINE: RGBColor = RGBColor(0, 0, 2);
const SERIES: RGBColor = RGBColor(0, 0, 3);
const ACCENT: RGBColor = RGBColor(0, 0, 4);
const FONT: &str = "sans-serif";

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A bar for each value. Of each bar, the second number is a part that stands out.
pub(crate) fn bars(title: &str, labels: &[String], values: &[(u64, u64)]) -> String {
    drawn(title, (WIDTH, HEIGHT), |area| {
        let top = values.iter().map(|(value, _)| *value).max().unwrap_or(0);
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .x_label_area_size(26)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..values.len() as f64, 0.0..ceiling(top))?;
        axes(&mut chart, labels)?;
        for (color, part) in [(SERIES, 0), (ACCENT, 1)] {
            chart.draw_series(values.iter().enumerate().map(|(place, value)| {
                let height = if part == 0 { value.0 } else { value.1 } as f64;
                let left = place as f64;
                Rectangle::new([(left + 0.12, 0.0), (left + 0.88, height)], color.filled())
            }))?;
        }
        Ok(())
    })
}

/// A line over points, which are at the edges between the labels: one more than labels.
pub(crate) fn line(title: &str, labels: &[String], points: &[(usize, u64)]) -> String {
    drawn(title, (WIDTH, HEIGHT), |area| {
        let top = points.iter().map(|(_, value)| *value).max().unwrap_or(0);
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .x_label_area_size(26)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..labels.len() as f64, 0.0..ceiling(top))?;
        axes(&mut chart, labels)?;
        let series = points
            .iter()
            .map(|(edge, value)| (*edge as f64, *value as f64));
        chart.draw_series(
            AreaSeries::new(series, 0.0, SERIES.mix(0.25)).border_style(SERIES.stroke_width(2)),
        )?;
        Ok(())
    })
}

/// A horizontal bar for each value, under its name.
pub(crate) fn shares(title: &str, values: &[(String, u64)]) -> String {
    let height = ROW * u32::try_from(values.len().max(1)).unwrap_or(1);
    drawn(title, (NARROW, height), |area| {
        let top = values
            .iter()
            .map(|(_, value)| *value)
            .max()
            .unwrap_or(0)
            .max(1);
        let name = (FONT, 15).into_font().color(&TEXT);
        let count = name.pos(Pos::new(HPos::Right, VPos::Top));
        let width = NARROW as i32;
        let mut y = 0;
        for (label, value) in values {
            let length = (*value as f64 / top as f64 * f64::from(NARROW)) as i32;
            area.draw(&Text::new(shortened(label), (0, y + 2), name.clone()))?;
            area.draw(&Text::new(number(*value), (width, y + 2), count.clone()))?;
            for (color, end) in [(LINE, width), (SERIES, length.max(2))] {
                area.draw(&Rectangle::new(
                    [(0, y + 22), (end, y + 29)],
                    color.filled(),
                ))?;
            }
            y += ROW as i32;
        }
        Ok(())
    })
}

fn axes(
    chart: &mut ChartContext<
        '_,
        SVGBackend<'_>,
        Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
    >,
    labels: &[String],
) -> Drawn {
    let text = (FONT, 14).into_font().color(&TEXT);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(LINE)
        .axis_style(LINE)
        .x_labels(7)
        .y_labels(5)
        .x_label_formatter(&|place| label(labels, *place))
        .y_label_formatter(&|value| short(*value))
        .label_style(text)
        .draw()
}

/// The label of the bar that begins at an edge.
fn label(labels: &[String], edge: f64) -> String {
    labels
        .get(edge.max(0.0).round() as usize)
        .cloned()
        .unwrap_or_default()
}

/// The top of an axis: a number above the largest value, so that the axis has whole numbers.
fn ceiling(top: u64) -> f64 {
    (top as f64 * 1.05).max(4.0)
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", rounded(value / 1e6)),
        value if value >= 1e4 => format!("{}k", rounded(value / 1e3)),
        value => rounded(value),
    }
}

fn rounded(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

fn shortened(label: &str) -> String {
    const LONGEST: usize = 32;
    if label.chars().count() <= LONGEST {
        return label.to_owned();
    }
    label.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// The SVG, with its title for screen readers. A plot that cannot be drawn is left out, because its
/// numbers are in a table below it.
fn drawn(title: &str, size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let result = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area).and_then(|()| area.present())
    };
    match result {
        Ok(()) => svg.replacen(
            "<svg ",
            &format!("<svg role=\"img\" aria-label=\"{}\" ", escaped(title)),
            1,
        ),
        Err(_) => String::new(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_plots() {
        let svg = shares(
            "a \"<b>\" & c",
            &[("</text><script>alert('&\")".to_owned(), 3)],
        );
        assert!(!svg.contains("<script"), "{svg}");
        assert!(!svg.contains("<b>"), "{svg}");
        assert!(svg.contains("&lt;script&gt;"), "{svg}");
    }

    #[test]
    fn plots_have_no_style_that_a_strict_policy_would_refuse() {
        let labels: Vec<_> = (0..24).map(|hour| format!("{hour:02}:00")).collect();
        let svg = bars("Sign-ins", &labels, &[(3, 1); 24])
            + &line("Active", &labels, &[(0, 0), (24, 1_000_000)])
            + &shares("Devices", &[(String::new(), 0)]);
        assert_eq!(svg.matches("<svg ").count(), 3);
        assert!(!svg.contains("style="), "{svg}");
        assert!(svg.contains("#000003"), "{svg}");
    }

    #[test]
    fn plots_without_values_are_drawn() {
        for svg in [bars("", &[], &[]), line("", &[], &[]), shares("", &[])] {
            assert!(svg.contains("</svg>"), "{svg}");
        }
    }

    #[test]
    fn the_axis_has_short_numbers() {
        for (value, text) in [
            (0.0, "0"),
            (2.5, "2.5"),
            (9_000.0, "9000"),
            (25_000.0, "25k"),
            (1.5e6, "1.5M"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
