//! The costs of a run as bars: an SVG of our own few lines.

use std::fmt::Write;

use crate::speed::results::Results;

const WIDTH: f64 = 820.0;
/// Where bars begin, and the room to their right for a figure.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 90.0;
const LINE: f64 = 20.0;
const COLOURS: [&str; 6] = ["#1f6feb", "#8c959f", "#bf8700", "#8250df", "#cf222e", "#1a7f37"];

/// A bar for each contender at each work that has a cost, as long as its median is beside the
/// work's largest.
#[must_use]
pub fn plot(results: &Results) -> String {
    let mut bars = String::new();
    let mut y = 34.0;
    for row in &results.rows {
        let cells = results.contenders.iter().zip(&row.cells).zip(COLOURS.iter().cycle());
        let costs: Vec<_> = cells
            .filter_map(|(((name, _), cell), colour)| Some((name, cell.cost_us()?, colour)))
            .collect();
        let largest = costs.iter().map(|(_, us, _)| *us).fold(0.0, f64::max);
        if largest <= 0.0 {
            continue;
        }
        let _ = writeln!(
            bars,
            "<text x=\"8\" y=\"{:.0}\" font-weight=\"bold\">{}, per {}</text>",
            y + 14.0,
            escaped(row.work.name),
            row.work.unit
        );
        y += LINE;
        for (name, us, colour) in costs {
            let length = us / largest * (WIDTH - LEFT - RIGHT);
            let _ = writeln!(
                bars,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
                 <rect x=\"{LEFT}\" y=\"{:.0}\" width=\"{length:.1}\" height=\"14\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{:.0}\">{us:.1} µs</text>",
                LEFT - 8.0,
                y + 14.0,
                escaped(name),
                y + 3.0,
                LEFT + length + 6.0,
                y + 14.0,
            );
            y += LINE;
        }
        y += LINE / 2.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y:.0}\" \
         viewBox=\"0 0 {WIDTH} {y:.0}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"20\">CPU time of the proxy, median; shorter is better</text>\n{bars}</svg>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::plot;
    use crate::speed::cell::Cell;
    use crate::speed::results::{Results, Row};
    use crate::speed::work;

    #[test]
    fn table_and_plot_show_who_took_part_and_who_did_not() {
        let cell = |us: f64| Cell { costs_us: vec![us, us * 2.0], ..Cell::default() };
        let cells = vec![cell(10.0), cell(20.0), Cell::absent("not here")];
        let names = ["difygate", "nginx+Lua", "<x>"];
        let results = Results {
            contenders: names.map(|name| (name, String::new())).to_vec(),
            rows: vec![Row { work: &work::ALL[0], cells, direct_us: vec![(1.0, 2.0)] }],
            remarks: vec!["on a toaster".to_owned()],
        };
        let svg = plot(&results);
        assert_eq!(svg.matches("<rect x").count(), 2, "{svg}");
        assert!(svg.contains("width=\"540.0\"") && svg.contains("width=\"270.0\""), "{svg}");
        let text = results.markdown();
        assert!(text.contains("| plain | difygate | 15.0 | 10.0 | 0.50 |"), "{text}");
        assert!(text.contains("without <x>: not here") && text.contains("1 / 2"), "{text}");
        assert_eq!(results.json()["works"]["plain"]["contenders"]["difygate"]["cpu_us_min"], 10.0);
    }
}
