//! Output of the figures, one row after each workload.

use std::fmt::Write as _;

use super::meter::Figures;
use crate::cli::outcome::Failure;
use crate::cli::output::format::Format;
use crate::cli::output::printer::Printer;
use crate::cli::output::render::Clock;
use crate::cli::output::text::grouped;

/// The rows of the workloads.
pub struct Table(Printer);

impl Table {
    pub fn new(format: Format) -> Self {
        let header = format!(
            "{:<12} {:>12} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "workload", "events/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU s", "RSS MiB"
        );
        Self(Printer::new(format, Clock::Day).with_header(header))
    }

    /// Prints a row, then the further figures of the workload, one a line.
    pub fn row(&mut self, name: &str, figures: &Figures) -> Result<(), Failure> {
        self.0.result(|| Ok(figures.to_json(name)), || row(name, figures))?;
        self.0.flush()
    }

    pub fn end(&mut self) -> Result<(), Failure> {
        self.0.end()
    }
}

fn row(name: &str, figures: &Figures) -> String {
    let ms = |q: f64| figures.quantile_ms(q).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}"));
    let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    let (p50, p99, p999) = (ms(0.5), ms(0.99), ms(0.999));
    let (cpu, rss) = (optional(figures.server_cpu_s), optional(figures.server_rss_mib));
    let rate = grouped(figures.per_second());
    let mut text = format!("{name:<12} {rate:>12} {p50:>10} {p99:>10} {p999:>10} {cpu:>10} {rss:>10}");
    for (what, value) in &figures.more {
        // Writing to a String does not fail.
        let _ = write!(text, "\n  {:<40} {value:>14.3}", what.replace('_', " "));
    }
    text
}
