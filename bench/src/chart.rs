//! A bar chart as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
/// Where bars begin; names end before it.
const LEFT: f64 = 250.0;
/// What is left beside the longest bar, for its figure.
const RIGHT: f64 = 80.0;
const TOP: f64 = 56.0;
const BAR: f64 = 26.0;
const PITCH: f64 = 40.0;

/// Horizontal bars, each with its name and its figure. Names are given as they are: without `<` and `&`.
pub fn bars(title: &str, bars: &[(&str, f64)]) -> String {
    let longest = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let height = TOP + PITCH * bars.len() as f64 + 10.0;
    let mut rows = String::new();
    for (number, (name, value)) in bars.iter().enumerate() {
        let top = TOP + PITCH * number as f64;
        let (middle, length) = (top + BAR / 2.0, value / longest * (WIDTH - LEFT - RIGHT));
        // Writing to a string does not fail.
        let _ = write!(
            rows,
            r##"
  <text x="{:.0}" y="{middle:.0}" text-anchor="end" dominant-baseline="central">{name}</text>
  <rect x="{LEFT:.0}" y="{top:.0}" width="{length:.1}" height="{BAR:.0}" rx="3" fill="#2f6fb0"/>
  <text x="{:.1}" y="{middle:.0}" dominant-baseline="central" font-weight="600">{value:.2}</text>"##,
            LEFT - 12.0,
            LEFT + length + 8.0,
        );
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0} {height:.0}" width="{WIDTH:.0}" height="{height:.0}"
     font-family="system-ui, sans-serif" font-size="15" fill="#1c2733">
  <rect width="100%" height="100%" fill="#ffffff"/>
  <text x="16" y="32" font-size="17" font-weight="600">{title}</text>{rows}
</svg>
"##
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_leaves_room_for_its_figure_and_others_are_in_proportion() {
        let chart = bars("µs", &[("one", 0.5), ("all", 2.0)]);
        assert!(chart.contains(r#"width="97.5""#) && chart.contains(r#"width="390.0""#), "{chart}");
        assert!(chart.contains(">one<") && chart.contains(">0.50<") && chart.contains(">2.00<"));
        assert!(!bars("nothing", &[("none", 0.0)]).contains("NaN"));
    }
}
