//! Reader of an export: lines are checked, numbered, and read ahead of the store.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use serde::de::IgnoredAny;
use tokio::sync::mpsc;

use super::line::{self, Header, Tally, Trailer, VERSION};
use super::spool::Spooled;
use crate::cli::outcome::{Exit, Failure};
use crate::domain::ProjectId;
use crate::server::Imported;

/// Lines that are read ahead.
const READ_AHEAD: usize = 256;
/// Limit of a line, bytes: the largest payload with every character escaped.
pub const MAX_LINE_BYTES: u64 = 256 << 20;
const BUFFER_BYTES: usize = 1 << 20;

/// Next item of the file.
pub enum Next {
    /// The header, with the project of the exported runs.
    Header(String),
    /// An event, and the byte offset behind the line.
    Event(Box<Imported>, u64),
    /// A trailer that matches the lines before: the file is complete.
    End(Trailer),
    /// The file ends without a trailer: number of the last complete line, and the trailer computed from the lines.
    CutOff(u64, Trailer),
    /// Invalid line; the message names the line number.
    Damaged(String),
    /// Read error, which ends the pass.
    Unreadable(io::Error),
}

/// An export that is read twice: a pass for the check, then a pass for the import.
pub struct Input {
    file: File,
    /// Byte offset of the export in the file.
    start: u64,
    /// Size of the export, bytes; `None` for a stream.
    pub bytes: Option<u64>,
    /// Stream for the first pass, which copies all bytes to `file`.
    stream: Option<Box<dyn Read + Send>>,
}

impl Input {
    /// Opens a file; `-` is stdin. A stream is copied to an unnamed temporary file for the second pass.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let broken = |error| Failure::of_file("the export", path, &error);
        if path != Path::new("-") {
            let file = File::open(path).map_err(broken)?;
            let metadata = file.metadata().map_err(broken)?;
            return if metadata.is_file() { Self::of_file(file).map_err(broken) } else { Self::of_stream(file) };
        }
        match crate::cli::commands::publish::input::stdin_file() {
            Some(file) => Self::of_file(file).map_err(broken),
            None => Self::of_stream(io::stdin()),
        }
    }

    fn of_file(mut file: File) -> io::Result<Self> {
        let start = file.stream_position()?;
        let bytes = Some(file.metadata()?.len().saturating_sub(start));
        Ok(Self { file, start, bytes, stream: None })
    }

    fn of_stream(stream: impl Read + Send + 'static) -> Result<Self, Failure> {
        let spooled = Spooled::new(stream)?;
        let file = spooled.kept()?;
        Ok(Self { file, start: 0, bytes: None, stream: Some(Box::new(spooled)) })
    }

    /// Starts a pass in a separate thread, since parsing takes as much time as storing. The first pass must end before the
    /// second starts.
    pub fn read(&mut self) -> Result<mpsc::Receiver<Next>, Failure> {
        let (sender, lines) = mpsc::channel(READ_AHEAD);
        if let Some(stream) = self.stream.take() {
            std::thread::spawn(move || read_lines(stream, &sender));
            return Ok(lines);
        }
        let again = self.file.seek(SeekFrom::Start(self.start)).and_then(|_| self.file.try_clone());
        let file = again.map_err(|error| Failure::new(Exit::Other, format!("cannot read the export: {error}")))?;
        std::thread::spawn(move || read_lines(file, &sender));
        Ok(lines)
    }
}

/// Reads until the end of the file, an error, or a closed receiver.
fn read_lines(input: impl Read, sender: &mpsc::Sender<Next>) {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    let mut reader = Reader::default();
    loop {
        let next = reader.next(&mut input);
        let is_last = !matches!(next, Next::Header(_) | Next::Event(..));
        if sender.blocking_send(next).is_err() || is_last {
            return;
        }
    }
}

#[derive(Default)]
struct Reader {
    line: u64,
    end: u64,
    text: Vec<u8>,
    is_headed: bool,
    tally: Tally,
}

impl Reader {
    fn next(&mut self, input: &mut impl BufRead) -> Next {
        self.text.clear();
        let read = input.take(MAX_LINE_BYTES).read_until(b'\n', &mut self.text);
        self.line += 1;
        let damaged = |line: u64, problem: String| Next::Damaged(format!("line {line}: {problem}"));
        match read {
            Ok(0) if self.is_headed => return Next::CutOff(self.line - 1, self.tally.trailer()),
            Ok(0) => return damaged(self.line, "there is nothing; an export begins with a header".to_owned()),
            Ok(read) => self.end += read as u64,
            Err(error) => return Next::Unreadable(error),
        }
        let is_whole = self.text.ends_with(b"\n");
        if !is_whole && self.text.len() as u64 == MAX_LINE_BYTES {
            return damaged(self.line, format!("is longer than {MAX_LINE_BYTES} bytes"));
        }
        if is_whole {
            self.text.pop();
        }
        match self.parse() {
            Ok(Next::End(trailer)) => self.behind(input).unwrap_or(Next::End(trailer)),
            Ok(next) => next,
            // An incomplete last line that is no JSON: the export was interrupted during the write.
            Err(_) if !is_whole && self.is_headed && serde_json::from_slice::<IgnoredAny>(&self.text).is_err() => {
                Next::CutOff(self.line - 1, self.tally.trailer())
            }
            Err(problem) => damaged(self.line, problem),
        }
    }

    /// Error if the file goes on behind the trailer, which must be the last line.
    fn behind(&self, input: &mut impl BufRead) -> Option<Next> {
        let line = self.line + 1;
        match input.fill_buf() {
            Ok([]) => None,
            Ok(_) => Some(Next::Damaged(format!("line {line}: lies behind the end of the export"))),
            Err(error) => Some(Next::Unreadable(error)),
        }
    }

    fn parse(&mut self) -> Result<Next, String> {
        let text = std::str::from_utf8(&self.text).map_err(|error| format!("is not UTF-8: {error}"))?;
        if !self.is_headed {
            let header = serde_json::from_str::<Header>(text);
            let header = header.map_err(|error| format!("is no header of an export: {error}"))?;
            if header.runlog_export != VERSION {
                let found = header.runlog_export;
                return Err(format!("runlog_export: this program reads version {VERSION}; the file is of {found}"));
            }
            self.is_headed = true;
            return Ok(Next::Header(header.project.unwrap_or_else(|| ProjectId::DEFAULT.to_owned())));
        }
        if let Ok(trailer) = serde_json::from_str::<Trailer>(text) {
            let counted = self.tally.trailer();
            let fields = [
                ("runlog_export_end", trailer.runlog_export_end != counted.runlog_export_end),
                ("events", trailer.events != counted.events),
                ("runs", trailer.runs != counted.runs),
                ("sha256", trailer.sha256 != counted.sha256),
            ];
            return match fields.into_iter().find(|(_, differs)| *differs) {
                None => Ok(Next::End(counted)),
                Some((field, _)) => Err(format!("{field}: is not that of the lines before; the file was changed")),
            };
        }
        let imported = line::parse_event(self.line, text)?;
        self.tally.add(&self.text, imported.is_first_of_run());
        Ok(Next::Event(Box::new(imported), self.end))
    }
}
