//! Writer of an export.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::line::{Header, Tally};
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::json_line;

/// Size of the file buffers, bytes.
pub const BUFFER_BYTES: usize = 1 << 20;

/// Destination of the lines, and the running totals for the trailer.
pub struct Output {
    to: BufWriter<Box<dyn Write>>,
    /// Path and handle; `None` for stdout.
    file: Option<(PathBuf, File)>,
    tally: Tally,
}

impl Output {
    pub fn stdout() -> Self {
        let to: Box<dyn Write> = Box::new(io::stdout().lock());
        Self { to: BufWriter::with_capacity(BUFFER_BYTES, to), file: None, tally: Tally::default() }
    }

    /// Appends to `file`; `tally` counts the lines already in the file.
    pub fn to(path: &Path, file: File, tally: Tally) -> Result<Self, Failure> {
        let to: Box<dyn Write> = Box::new(file.try_clone().map_err(|error| failed(path, &error))?);
        Ok(Self { to: BufWriter::with_capacity(BUFFER_BYTES, to), file: Some((path.to_owned(), file)), tally })
    }

    /// Writes the header and flushes the buffer, so that an interrupted file is recognised as an export.
    pub fn header(&mut self, header: &Header) -> Result<(), Failure> {
        self.line(header)?;
        self.to.flush().map_err(|error| self.broken(&error))
    }

    /// Writes and counts one event line.
    pub fn event(&mut self, line: &str, is_first_of_run: bool) -> Result<(), Failure> {
        self.tally.add(line.as_bytes(), is_first_of_run);
        self.to.write_all(line.as_bytes()).and_then(|()| self.to.write_all(b"\n")).map_err(|error| self.broken(&error))
    }

    /// Writes the trailer and syncs file and directory to disk. Returns the totals.
    pub fn finish(mut self) -> Result<Tally, Failure> {
        self.line(&self.tally.trailer())?;
        self.to.flush().map_err(|error| self.broken(&error))?;
        if let Some((path, file)) = &self.file {
            let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
            let synced = file.sync_all().and_then(|()| File::open(directory)?.sync_all());
            synced.map_err(|error| failed(path, &error))?;
        }
        Ok(self.tally)
    }

    /// Totals of the lines so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let line = json_line::line(value)? + "\n";
        self.to.write_all(line.as_bytes()).map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &io::Error) -> Failure {
        match &self.file {
            Some((path, _)) => failed(path, error),
            None => Failure::output(io::Error::new(error.kind(), error.to_string())),
        }
    }
}

/// Error of a `--file` that cannot be read or written.
pub fn failed(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Failure::of_file("--file", path, error),
        _ => Failure::new(Exit::Other, format!("--file {}: {error}", path.display())),
    }
}
