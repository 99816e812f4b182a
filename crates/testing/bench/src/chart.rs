//! Bar charts as SVG: groups of bars with whiskers from the lowest to the highest sample, and marks
//! at goals.
//!
//! The scale covers the bars, the lines and the goals. A whisker that is much longer is cut and
//! ends in an arrow; the table has its figure.

use anyhow::{Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::stats::Spread;

/// A chart of bars.
#[derive(Default)]
pub struct Chart {
    /// The meaning of a bar's height.
    pub axis: String,
    /// The names of the groups.
    pub groups: Vec<String>,
    /// The series, each with one bar in each group.
    pub series: Vec<Series>,
    /// Named horizontal lines: a peer or a limit.
    pub lines: Vec<(String, f64)>,
}

/// The bars of one colour.
pub struct Series {
    /// The name in the legend.
    pub name: String,
    /// One for each group.
    pub bars: Vec<Spread>,
    /// The goal of each bar, or `None`.
    goals: Vec<Option<f64>>,
}

impl Series {
    /// A series whose bars have no goals.
    pub fn new(name: impl Into<String>, bars: Vec<Spread>) -> Self {
        let goals = vec![None; bars.len()];
        Self { name: name.into(), bars, goals }
    }

    /// With the goal of each bar that has one.
    pub fn with_goals(self, goals: Vec<Option<f64>>) -> Self {
        Self { goals, ..self }
    }

    fn goals(&self) -> impl Iterator<Item = f64> {
        self.goals.iter().flatten().copied()
    }
}

const SIZE: (u32, u32) = (860, 420);
/// Around the bars: left, right, top, bottom.
const MARGINS: (i32, i32, i32, i32) = (64, 16, 80, 56);
/// Sizes of text in pixels, of which the library takes about four fifths.
const TITLE: i32 = 18;
const LABEL: i32 = 14;
/// Distinguishable with colour vision deficiencies.
const COLOURS: [RGBColor; 4] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0x99, 0x99, 0x99),
];
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const LINES: [RGBColor; 2] = [RGBColor(0xd5, 0x5e, 0x00), RGBColor(0xcc, 0x79, 0xa7)];
/// The most by which whiskers extend the scale.
const HEADROOM: f64 = 1.3;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

impl Chart {
    /// The chart as SVG, under `title`.
    ///
    /// # Errors
    /// The chart has no groups, or a series lacks a bar for a group.
    pub fn svg(&self, title: &str) -> Result<String> {
        let is_whole =
            |series: &Series| [series.bars.len(), series.goals.len()] == [self.groups.len(); 2];
        if self.groups.is_empty() || !self.series.iter().all(is_whole) {
            return Err(anyhow!("the chart `{title}` needs a bar of each series in each group"));
        }
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            self.draw(&area, title).map_err(|error| anyhow!("drawing `{title}`: {error}"))?;
            area.present().map_err(|error| anyhow!("drawing `{title}`: {error}"))?;
        }
        Ok(svg)
    }

    fn draw(&self, area: &Area<'_>, title: &str) -> Drawn {
        let (left, right, top, bottom) = MARGINS;
        let (width, height) = (SIZE.0 as i32 - left - right, SIZE.1 as i32 - top - bottom);
        let scale = Scale::over(self.highest());
        let y = |value: f64| top + height - (value / scale.end() * f64::from(height)) as i32;
        area.fill(&WHITE)?;
        text(area, title, TITLE, INK, (left, 18), HPos::Left)?;
        self.draw_legend(area, left)?;
        text(area, &self.axis, LABEL, INK, (left, 66), HPos::Left)?;
        for tick in scale.ticks() {
            let at = y(tick);
            area.draw(&PathElement::new([(left, at), (left + width, at)], GRID))?;
            text(area, &scale.label(tick), LABEL, INK, (left - 6, at), HPos::Right)?;
        }
        let group_width = f64::from(width) / self.groups.len() as f64;
        let bar_width = group_width * 0.8 / self.series.len() as f64;
        for (number, name) in self.groups.iter().enumerate() {
            let from = f64::from(left) + group_width * number as f64;
            for (place, series) in self.series.iter().enumerate() {
                let x = from + group_width * 0.1 + bar_width * place as f64;
                let (x, end) = (x as i32, (x + bar_width) as i32 - 1);
                let bar = series.bars[number];
                let corners = [(x, y(bar.median)), (end, y(0.0))];
                area.draw(&Rectangle::new(corners, COLOURS[place % COLOURS.len()].filled()))?;
                draw_whisker(area, i32::midpoint(x, end), [bar.low, bar.high].map(y), top)?;
                if let Some(goal) = series.goals[number] {
                    let mark = [(x - 2, y(goal)), (end + 2, y(goal))];
                    area.draw(&PathElement::new(mark, BLACK.stroke_width(3)))?;
                }
            }
            let middle = (from + group_width / 2.0) as i32;
            for (row, part) in name.split('\n').enumerate() {
                let under = top + height + 14 + 15 * row as i32;
                text(area, part, LABEL, INK, (middle, under), HPos::Center)?;
            }
        }
        area.draw(&PathElement::new([(left, y(0.0)), (left + width, y(0.0))], INK))?;
        for ((_, value), colour) in self.lines.iter().zip(LINES.into_iter().cycle()) {
            let line = [(left, y(*value)), (left + width, y(*value))];
            area.draw(&PathElement::new(line, colour.stroke_width(2)))?;
        }
        Ok(())
    }

    /// Draws the legend from `x` to the right.
    fn draw_legend(&self, area: &Area<'_>, mut x: i32) -> Drawn {
        const Y: i32 = 44;
        let series =
            self.series.iter().map(|series| &*series.name).zip(COLOURS.into_iter().cycle());
        let series = series.map(|(name, colour)| (name, colour, 5));
        let lines = self.lines.iter().map(|(name, _)| &**name).zip(LINES.into_iter().cycle());
        let lines = lines.map(|(name, colour)| (name, colour, 1));
        let has_goals = self.series.iter().any(|series| series.goals().next().is_some());
        let goal = has_goals.then_some(("goal", BLACK, 1));
        for (name, colour, half_height) in series.chain(lines).chain(goal) {
            let sign = [(x, Y - half_height), (x + 10, Y + half_height)];
            area.draw(&Rectangle::new(sign, colour.filled()))?;
            text(area, name, LABEL, INK, (x + 16, Y), HPos::Left)?;
            // The approximate width of a letter.
            x += 7 * name.chars().count() as i32 + 36;
        }
        Ok(())
    }

    /// The top of the scale: the highest bar, line or goal, or a whisker up to [`HEADROOM`] above
    /// it.
    fn highest(&self) -> f64 {
        let bars = || self.series.iter().flat_map(|series| &series.bars);
        let goals = self.series.iter().flat_map(Series::goals);
        let lines = self.lines.iter().map(|(_, value)| *value);
        let shown = bars().map(|bar| bar.median).chain(goals).chain(lines).fold(0.0, f64::max);
        bars().map(|bar| bar.high).fold(shown, f64::max).min(shown * HEADROOM)
    }
}

/// Draws a whisker from the lowest to the highest sample; an arrow if that is above `top`.
fn draw_whisker(area: &Area<'_>, x: i32, [low, high]: [i32; 2], top: i32) -> Drawn {
    let is_cut = high < top;
    let whisker = [(x, low.max(top)), (x, high.max(top))];
    area.draw(&PathElement::new(whisker, INK.stroke_width(1)))?;
    if is_cut {
        area.draw(&Polygon::new([(x - 4, top), (x + 4, top), (x, top - 6)], INK.filled()))?;
    }
    Ok(())
}

fn text(
    area: &Area<'_>,
    text: &str,
    size: i32,
    colour: RGBColor,
    at: (i32, i32),
    side: HPos,
) -> Drawn {
    let style = ("sans-serif", size).into_text_style(area).color(&colour);
    let style = style.pos(Pos::new(side, VPos::Center));
    Ok(area.draw(&Text::new(text.to_owned(), at, style))?)
}

/// A scale from zero in round steps.
struct Scale {
    step: f64,
    steps: u32,
}

impl Scale {
    /// The scale that covers `highest`.
    fn over(highest: f64) -> Self {
        let rough = if highest > 0.0 { highest / 5.0 } else { 1.0 };
        let magnitude = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * magnitude)
            .into_iter()
            .find(|step| *step >= rough * 0.999)
            .unwrap_or(rough);
        Self { step, steps: (highest / step * 0.999).ceil().max(1.0) as u32 }
    }

    fn end(&self) -> f64 {
        self.step * f64::from(self.steps)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (0..=self.steps).map(|step| self.step * f64::from(step))
    }

    fn label(&self, tick: f64) -> String {
        let decimals = (-self.step.log10().floor()).max(0.0) as usize;
        format!("{tick:.decimals$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_names_and_a_bar_for_each_figure() {
        let bars = vec![Spread { median: 0.5, low: 0.4, high: 0.6 }; 2];
        let chart = Chart {
            axis: "ratio".into(),
            groups: vec!["one".into(), "two\ncallers".into()],
            series: vec![
                Series::new("store", bars.clone()).with_goals(vec![None, Some(0.7)]),
                Series::new("peer", bars),
            ],
            lines: vec![("limit".into(), 1.0)],
        };
        let svg = chart.svg("Title").unwrap();
        let names = ["Title", "ratio", "one", "two", "callers", "store", "peer", "limit", "goal"];
        for name in names.into_iter().chain(["0.8"]) {
            assert!(svg.lines().any(|line| line.trim() == name), "{name} is not in {svg}");
        }
        // The background, the legend and the bars.
        assert_eq!(svg.matches("<rect").count(), 1 + 4 + 4);
        assert_eq!(svg, chart.svg("Title").unwrap(), "the same figures make the same chart");
    }

    #[test]
    fn a_long_whisker_is_cut_and_ends_in_an_arrow() {
        let chart = |high| Chart {
            groups: vec!["one".into()],
            series: vec![Series::new("store", vec![Spread { median: 0.9, low: 0.8, high }])],
            lines: vec![("peer".into(), 1.0)],
            ..Chart::default()
        };
        assert_eq!((chart(1.2).highest(), chart(4.0).highest()), (1.2, 1.3));
        let arrows = |high| chart(high).svg("Title").unwrap().matches("<polygon").count();
        assert_eq!((arrows(1.2), arrows(4.0)), (0, 1));
    }

    #[test]
    fn a_chart_without_all_its_bars_is_refused() {
        let chart = Chart {
            groups: vec!["one".into()],
            series: vec![Series::new("store", vec![])],
            ..Chart::default()
        };
        let error = chart.svg("Title").unwrap_err().to_string();
        assert!(error.contains("`Title` needs a bar"), "{error}");
    }

    #[test]
    fn a_scale_has_round_steps_and_room_for_the_highest_bar() {
        for (highest, step, end) in [(1.0, 0.2, 1.0), (1.07, 0.5, 1.5), (48.0, 10.0, 50.0)] {
            let scale = Scale::over(highest);
            assert!((scale.step - step).abs() < 1e-9, "{highest}: {}", scale.step);
            assert!((scale.end() - end).abs() < 1e-9, "{highest}: {}", scale.end());
        }
        assert_eq!(Scale::over(1.0).label(0.2), "0.2");
        assert_eq!(Scale::over(48.0).label(20.0), "20");
    }
}
