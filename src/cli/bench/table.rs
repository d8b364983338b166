//! Output of the figures, one row after each workload.

use std::io::{IsTerminal as _, Write as _};

use super::meter::Figures;
use crate::cli::outcome::Failure;
use crate::cli::output::text::grouped;

/// An aligned table, or one JSON object a line.
pub struct Table {
    json: bool,
    rows: usize,
}

impl Table {
    pub fn new(json: bool) -> Self {
        Self { json, rows: 0 }
    }

    /// Prints a row, then the further figures of the workload, one a line.
    pub fn row(&mut self, name: &str, figures: &Figures) -> Result<(), Failure> {
        let mut out = anstream::stdout();
        if self.json {
            return writeln!(out, "{}", figures.to_json(name)).map_err(Failure::output);
        }
        if self.rows == 0 {
            let head = format!(
                "{:<12} {:>12} {:>10} {:>10} {:>10} {:>10} {:>10}",
                "workload", "events/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU s", "RSS MiB"
            );
            writeln!(out, "{head}").map_err(Failure::output)?;
        }
        self.rows += 1;
        let ms = |q: f64| figures.quantile_ms(q).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}"));
        let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        let (p50, p99, p999) = (ms(0.5), ms(0.99), ms(0.999));
        let (cpu, rss) = (optional(figures.server_cpu_s), optional(figures.server_rss_mib));
        let rate = grouped(figures.per_second());
        writeln!(out, "{name:<12} {rate:>12} {p50:>10} {p99:>10} {p999:>10} {cpu:>10} {rss:>10}")
            .map_err(Failure::output)?;
        for (what, value) in &figures.more {
            writeln!(out, "  {:<40} {value:>14.3}", what.replace('_', " ")).map_err(Failure::output)?;
        }
        if std::io::stdout().is_terminal() {
            out.flush().map_err(Failure::output)?;
        }
        Ok(())
    }
}
