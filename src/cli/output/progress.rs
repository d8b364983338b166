//! Progress of long commands on stderr: the bar, and the counters of `publish --stdin`.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::format::Format;
use super::json_line::{self, status_name};
use super::printer::Printer;
use super::published::Published;
use super::render::{Clock, note};
use super::text::{clean, grouped};
use crate::cli::outcome::{Exit, Failure};
use crate::config::as_millis;
use crate::pb;

/// Limit of refused lines that are reported one by one; further lines are only counted.
const MAX_REPORTED: u64 = 50;
/// Limit of distinct runs that are counted; above, the summary says "more than".
const MAX_RUNS: usize = 100_000;

/// Progress bar on stderr, hidden unless stderr is a terminal; a spinner for an unknown total.
pub fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:30.cyan/dim} {percent:>3} %  {msg}  {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner:.cyan}  {msg}"),
    };
    // The templates are constants and valid; an error would only mean the default style.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Shows a message until the work is done.
pub async fn shown<T>(message: &'static str, work: impl Future<Output = T>) -> T {
    let bar = bar(None);
    bar.set_message(message);
    let done = work.await;
    bar.finish_and_clear();
    done
}

/// Counters of the input lines, a progress bar, and as JSON a result for each stored input line.
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
    /// `total_bytes` is the size of the input; `None` for a stream.
    pub fn new(total_bytes: Option<u64>, format: Format) -> Self {
        let bar = bar(total_bytes);
        let printer = (format != Format::Table).then(|| Printer::new(format, Clock::Day));
        let (began, runs) = (Instant::now(), HashSet::new());
        Self { bar, printer, began, stored: 0, duplicates: 0, refused: 0, runs, first_refusal: None }
    }

    /// Number of lines with a result: stored, duplicate or refused.
    pub fn answered(&self) -> u64 {
        self.stored + self.duplicates + self.refused
    }

    /// Counts a stored line or a duplicate. `end` is the byte offset of the line's end in the input.
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
        let published = Published {
            line: Some(line),
            run_id,
            seq: published.seq,
            event_id: &published.event_id,
            duplicate: published.duplicate,
            run_status: status_name(answer.run_status),
        };
        printer.result(|| json_line::line(&published), String::new)
    }

    /// Counts a permanently refused line and reports the problem, up to [`MAX_REPORTED`] times.
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

    /// Prints a note without disturbing the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| note(text));
    }

    /// Flushes the result lines to stdout.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.printer.as_mut().map_or(Ok(()), Printer::flush)
    }

    /// Prints the summary, also after a failure. An error if lines were refused.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        self.printer.as_mut().map_or(Ok(()), Printer::end)?;
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
            let millis = as_millis(self.began.elapsed()).max(1);
            let rate = self.answered().saturating_mul(1_000) / millis;
            self.bar.set_message(format!("{}, {} a second", self.counts(), grouped(rate)));
        }
    }
}
