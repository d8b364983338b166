//! What a command that works through much tells meanwhile: the bar, and what `publish --stdin` counts.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::json_line::{self, status_name};
use super::render::{Clock, Printer, note};
use super::text::{clean, grouped};
use crate::cli::commands::publish::Outcome;
use crate::cli::outcome::{Exit, Failure};
use crate::pb;

/// Refused lines that are reported one by one; the others are only counted.
const MAX_REPORTED: u64 = 50;
/// Runs that are counted; beyond, the summary says "more than".
const MAX_RUNS: usize = 100_000;

/// A bar on stderr where that is a terminal; without a total a spinner.
pub fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:30.cyan/dim} {percent:>3} %  {msg}  {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner:.cyan}  {msg}"),
    };
    // The templates are constants; a bar in the standard style would do too.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Counts, a bar on a terminal, and an answer for each line with `--json`.
pub struct Progress {
    bar: ProgressBar,
    printer: Option<Printer>,
    began: Instant,
    stored: u64,
    duplicates: u64,
    refused: u64,
    runs: HashSet<String>,
    first_refusal: Option<Exit>,
}

impl Progress {
    /// Begins. `total_bytes` is how much there is to read, where that is known.
    pub fn new(total_bytes: Option<u64>, json: bool) -> Self {
        let bar = bar(total_bytes);
        let printer = json.then(|| Printer::new(true, Clock::Day));
        let (began, runs) = (Instant::now(), HashSet::new());
        Self { bar, printer, began, stored: 0, duplicates: 0, refused: 0, runs, first_refusal: None }
    }

    /// How many lines have their answer.
    pub fn answered(&self) -> u64 {
        self.stored + self.duplicates + self.refused
    }

    /// A line is stored.
    pub fn stored(&mut self, line: u64, end: u64, run_id: &str, answer: &pb::PublishResponse) -> Result<(), Failure> {
        let Some(published) = answer.events.first() else {
            return Err(Failure::new(Exit::Protocol, "the server did not say what became of an event"));
        };
        let count = if published.duplicate { &mut self.duplicates } else { &mut self.stored };
        *count += 1;
        if self.runs.len() < MAX_RUNS && !self.runs.contains(run_id) {
            self.runs.insert(run_id.to_owned());
        }
        self.moved(end);
        let Some(printer) = &mut self.printer else { return Ok(()) };
        printer.line(&json_line::line(&Outcome {
            line: Some(line),
            run_id,
            seq: published.seq,
            event_id: &published.event_id,
            duplicate: published.duplicate,
            run_status: status_name(answer.run_status),
        })?)
    }

    /// A line is not stored and never will be.
    pub fn refused(&mut self, line: u64, end: u64, exit: Exit, problem: &str) {
        self.refused += 1;
        self.first_refusal.get_or_insert(exit);
        self.moved(end);
        if self.refused <= MAX_REPORTED {
            self.say(&format!("line {line}: {}", clean(problem)));
        } else if self.refused == MAX_REPORTED + 1 {
            self.say("more lines were refused; they are only counted from here on");
        }
    }

    /// A remark that does not disturb the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| note(text));
    }

    /// Hands the answers so far to their reader.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.printer.as_mut().map_or(Ok(()), Printer::flush)
    }

    /// The end, also of a failed attempt: the sums.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        self.flush()?;
        let seconds = self.began.elapsed().as_secs_f64();
        let more = if self.runs.len() == MAX_RUNS { "more than " } else { "" };
        let runs = grouped(self.runs.len() as u64);
        let noun = if self.runs.len() == 1 { "run" } else { "runs" };
        note(&format!("{} in {more}{runs} {noun}, {seconds:.1} s", self.counts()));
        match self.first_refusal {
            None => Ok(()),
            Some(exit) => {
                let (refused, all) = (grouped(self.refused), grouped(self.answered()));
                Err(Failure::new(exit, format!("{refused} of {all} lines were not stored")))
            }
        }
    }

    fn counts(&self) -> String {
        let (stored, duplicates, refused) = (grouped(self.stored), grouped(self.duplicates), grouped(self.refused));
        format!("{stored} stored, {duplicates} stored before, {refused} refused")
    }

    fn moved(&mut self, end: u64) {
        self.bar.set_position(end);
        if self.answered().is_multiple_of(64) {
            let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
            let rate = self.answered().saturating_mul(1_000) / millis;
            self.bar.set_message(format!("{}, {} a second", self.counts(), grouped(rate)));
        }
    }
}
