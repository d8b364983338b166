//! Results on stdout: aligned, coloured lines for people, or JSON.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, Write};

use anstream::AutoStream;
use jiff::tz::TimeZone;

use super::format::Format;
use super::json_line;
use super::render::{Clock, Layout, note};
use super::text::clean_json;
use crate::cli::outcome::Failure;
use crate::pb;

/// Line width without a terminal.
const DEFAULT_LINE_CHARS: usize = 160;

/// Buffered writer of results to stdout. The caller flushes or ends it; colours only for a terminal that supports colours.
pub struct Printer {
    out: BufWriter<AutoStream<io::Stdout>>,
    format: Format,
    terminal: bool,
    layout: Layout,
    /// Line above the first row of a table.
    header: Option<String>,
    results: u64,
}

impl Printer {
    pub fn new(format: Format, clock: Clock) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        // JSON passes unchanged: the colour filter would strip escape sequences inside JSON strings.
        let out = if format == Format::Table { AutoStream::auto(stdout) } else { AutoStream::always_ansi(stdout) };
        let layout = Layout::new(clock, line_chars(), TimeZone::system());
        let out = BufWriter::with_capacity(64 << 10, out);
        Self { out, format, terminal, layout, header: None, results: 0 }
    }

    /// With a line above the first row of a table.
    pub fn with_header(self, header: String) -> Self {
        Self { header: Some(header), ..self }
    }

    /// Prints events, aligned with each other.
    pub fn events(&mut self, events: &[pb::Event]) -> Result<(), Failure> {
        if self.format == Format::Table {
            events.iter().for_each(|event| self.layout.fit(event));
        }
        events.iter().try_for_each(|event| self.event(event))
    }

    fn event(&mut self, event: &pb::Event) -> Result<(), Failure> {
        let line = match self.format {
            Format::Table => self.layout.event(event)?,
            Format::Json | Format::Jsonl => json_line::event(event)?,
        };
        self.one_of_many(line)
    }

    /// Prints one of several results: a row, a line or an element of the array.
    pub fn result(
        &mut self,
        json: impl FnOnce() -> Result<String, Failure>,
        row: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let line = if self.format == Format::Table { row() } else { json()? };
        self.one_of_many(line)
    }

    fn one_of_many(&mut self, line: String) -> Result<(), Failure> {
        self.results += 1;
        match (self.format, self.results) {
            (Format::Table, 1) => {
                if let Some(header) = self.header.take() {
                    self.line(&header)?;
                }
            }
            (Format::Json, 1) => self.write("[\n")?,
            (Format::Json, _) => self.write(",\n")?,
            (Format::Table | Format::Jsonl, _) => {}
        }
        self.write(&self.shown(&line))?;
        if self.format == Format::Json { Ok(()) } else { self.write("\n") }
    }

    /// Prints the only result, an object in both forms of JSON, and flushes.
    pub fn only(
        &mut self,
        json: impl FnOnce() -> Result<String, Failure>,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let line = if self.format == Format::Table { text() } else { json()? };
        self.line(&line)?;
        self.flush()
    }

    /// Prints a line as it is.
    pub fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.write(&self.shown(line))?;
        self.write("\n")
    }

    /// JSON on a terminal is escaped by [`clean_json`].
    fn shown<'a>(&self, line: &'a str) -> Cow<'a, str> {
        if self.format != Format::Table && self.terminal { clean_json(line) } else { line.into() }
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).map_err(Failure::output)
    }

    /// Writes the buffer to stdout.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::output)
    }

    /// Ends several results: closes the array, and flushes.
    pub fn end(&mut self) -> Result<(), Failure> {
        match (self.format, self.results) {
            (Format::Json, 0) => self.write("[]\n")?,
            (Format::Json, _) => self.write("\n]\n")?,
            (Format::Table | Format::Jsonl, _) => {}
        }
        self.flush()
    }

    /// Ends the results that came before a failure, and returns it: what was printed is a whole document then, too.
    pub fn end_failed<T>(&mut self, printed: Result<T, Failure>) -> Result<T, Failure> {
        if printed.is_err() {
            // The first failure says what is wrong.
            let _ = self.end();
        }
        printed
    }

    /// Ends a list. Of an empty one people read so on stderr.
    pub fn end_list(&mut self, nothing: &str) -> Result<(), Failure> {
        self.end()?;
        if self.format == Format::Table && self.results == 0 {
            note(nothing);
        }
        Ok(())
    }
}

/// Line width: `COLUMNS`, else the width of the terminal, else [`DEFAULT_LINE_CHARS`].
fn line_chars() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    columns.or_else(|| terminal_size::terminal_size().map(|(width, _)| width.0.into())).unwrap_or(DEFAULT_LINE_CHARS)
}
