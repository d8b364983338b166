//! Medians over the rounds, and the report.

use std::fmt::Write as _;

use clap::ValueEnum as _;
use serde_json::json;

use crate::goals::{Goal, goals};
use crate::meter::Figures;
use crate::system::Name;
use crate::workload::Workload;

/// The figures of one workload against one system in one round.
pub struct Cell {
    pub workload: Workload,
    pub system: Name,
    pub figures: Figures,
}

/// All figures of a benchmark run.
#[derive(Default)]
pub struct Report {
    pub versions: Vec<String>,
    pub fdatasync_ms: Vec<f64>,
    pub cells: Vec<Cell>,
}

impl Report {
    /// The figures of one workload against one system, round by round.
    fn rounds(&self, workload: Workload, system: Name) -> impl Iterator<Item = &Figures> {
        let cells = self.cells.iter().filter(move |cell| cell.workload == workload && cell.system == system);
        cells.map(|cell| &cell.figures)
    }

    /// The median of each quantity for one workload against one system; `None` without a measurement.
    fn medians(&self, workload: Workload, system: Name) -> Option<Figures> {
        self.rounds(workload, system).next()?;
        let of = |quantity: fn(&Figures) -> f64| median(self.rounds(workload, system).map(quantity).collect());
        Some(Figures { per_second: of(|f| f.per_second), p50_ms: of(|f| f.p50_ms), p99_ms: of(|f| f.p99_ms) })
    }

    /// The median of the ratio of runlog to a peer, round by round: the speed of the machine differs between rounds
    /// more than within a round.
    fn ratio(&self, workload: Workload, other: Name, quantity: fn(&Figures) -> f64) -> Option<f64> {
        let of = |system: Name| self.rounds(workload, system).map(quantity);
        let ratios: Vec<f64> = of(Name::Runlog).zip(of(other)).map(|(ours, theirs)| ours / theirs).collect();
        (!ratios.is_empty()).then(|| median(ratios))
    }

    fn workloads(&self) -> impl Iterator<Item = Workload> {
        let measured = |workload: &Workload| self.cells.iter().any(|cell| cell.workload == *workload);
        Workload::value_variants().iter().copied().filter(measured)
    }

    /// A Markdown table: a row for each workload, a column for each system, and the result of each goal.
    pub fn markdown(&self) -> String {
        let mut text = String::from("| workload |");
        let systems = Name::ALL.map(|name| (name, self.cells.iter().any(|cell| cell.system == name)));
        let systems: Vec<Name> = systems.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect();
        for system in &systems {
            let _ = write!(text, " {} |", system.as_str());
        }
        let _ = writeln!(text, " goals |\n|---|{}---|", "---|".repeat(systems.len()));
        for workload in self.workloads() {
            let _ = write!(text, "| `{}` |", workload.as_str());
            for system in &systems {
                match self.medians(workload, *system) {
                    Some(figures) => {
                        let _ = write!(text, " {} |", shown(&figures, workload));
                    }
                    None => text.push_str(" – |"),
                }
            }
            let results: Vec<String> = goals(workload).iter().filter_map(|goal| self.result(workload, *goal)).collect();
            let _ = writeln!(text, " {} |", results.join("; "));
        }
        let _ = writeln!(
            text,
            "\nEvents (deliveries) a second, then p50 and p99 in ms; medians of the rounds, and of the ratios in each \
             of them. fdatasync of 4 KiB on this disk: \
             p50 {:.2} ms. {}.",
            median(self.fdatasync_ms.clone()),
            self.versions.join(", ")
        );
        text
    }

    /// A goal with its result; `None` without a measurement of the peer.
    fn result(&self, workload: Workload, goal: Goal) -> Option<String> {
        let ours = self.medians(workload, Name::Runlog)?;
        let ratio = |system: Name, quantity: fn(&Figures) -> f64| self.ratio(workload, system, quantity);
        let word = |is_met: bool| if is_met { "met" } else { "missed" };
        Some(match goal {
            Goal::Rate(share, system) => {
                let ratio = ratio(system, |f| f.per_second)?;
                format!("{ratio:.2} × {} (≥ {share}: {})", system.as_str(), word(ratio >= share))
            }
            Goal::RateOf(rate) => {
                let ratio = ours.per_second / rate;
                format!("{ratio:.2} × {} (≥ 1: {})", grouped(rate), word(ratio >= 1.0))
            }
            Goal::P50(share, system) => {
                let ratio = ratio(system, |f| f.p50_ms)?;
                format!("p50 {ratio:.2} × {} (≤ {share}: {})", system.as_str(), word(ratio <= share))
            }
            Goal::P50Of(ms) => format!("p50 {:.2} ms (≤ {ms}: {})", ours.p50_ms, word(ours.p50_ms <= ms)),
            Goal::P99(share, system) => {
                let ratio = ratio(system, |f| f.p99_ms)?;
                format!("p99 {ratio:.2} × {} (≤ {share}: {})", system.as_str(), word(ratio <= share))
            }
            Goal::P99Of(ms) => format!("p99 {:.2} ms (≤ {ms}: {})", ours.p99_ms, word(ours.p99_ms <= ms)),
        })
    }

    /// Every round and the medians, as JSON.
    pub fn json(&self) -> String {
        let figures = |figures: &Figures| json!({ "per_second": figures.per_second, "p50_ms": figures.p50_ms, "p99_ms": figures.p99_ms });
        let cell = |workload: Workload, system: Name, of: &Figures| json!({ "workload": workload.as_str(), "system": system.as_str(), "figures": figures(of) });
        let rounds: Vec<_> = self.cells.iter().map(|c| cell(c.workload, c.system, &c.figures)).collect();
        let pairs = self.workloads().flat_map(|workload| Name::ALL.map(|system| (workload, system)));
        let medians =
            pairs.filter_map(|(workload, system)| Some(cell(workload, system, &self.medians(workload, system)?)));
        let medians: Vec<_> = medians.collect();
        json!({ "versions": self.versions, "fdatasync_ms": self.fdatasync_ms, "rounds": rounds, "medians": medians })
            .to_string()
    }
}

fn shown(figures: &Figures, workload: Workload) -> String {
    let rate = grouped(figures.per_second);
    match workload {
        // The latency of a whole replay is implied by the rate.
        Workload::Replay => rate,
        _ => format!("{rate} · {:.2} · {:.2}", figures.p50_ms, figures.p99_ms),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// Formats as `1,234,567`.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios_are_of_the_rounds() {
        let cell = |system, per_second| Cell {
            workload: Workload::Unary64,
            system,
            figures: Figures { per_second, p50_ms: 1.0, p99_ms: 2.0 },
        };
        let of = |system, rates: [f64; 3]| rates.map(|rate| cell(system, rate));
        // The speed of the machine differs between the rounds.
        let ours = of(Name::Runlog, [9_000.0, 800.0, 18_000.0]);
        let theirs = of(Name::Empty, [12_000.0, 1_000.0, 20_000.0]);
        let cells = ours.into_iter().chain(theirs).collect();
        let report = Report { cells, fdatasync_ms: vec![0.1, 0.3], ..Report::default() };
        let table = report.markdown();
        assert!(table.contains("| `unary-64` | 9,000 · 1.00 · 2.00 | 12,000 · 1.00 · 2.00 |"), "{table}");
        assert!(table.contains("0.80 × empty (≥ 0.9: missed)"), "{table}");
        assert!(table.contains("p50 0.20 ms"), "{table}");
    }
}
