//! The lines of an export as they are read back: checked, numbered, and read ahead of the store.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use tokio::sync::mpsc;

use super::line::{self, Header, Tally, Trailer, VERSION};
use crate::app::Imported;
use crate::cli::exit::{Exit, Failure};

/// Lines that are read ahead.
const READ_AHEAD: usize = 256;
/// Longest line, bytes: the largest payload there can be, every character of it escaped once more.
pub const MAX_LINE_BYTES: u64 = 256 << 20;
const BUFFER_BYTES: usize = 1 << 20;

/// What comes next.
pub enum Next {
    /// An event, and the bytes up to its end.
    Event(Box<Imported>, u64),
    /// The trailer, and it is right: the file is whole.
    End,
    /// The file ends without a trailer, behind this line.
    CutOff(u64),
    /// The line of this number is not what it should be.
    Damaged(u64, String),
}

/// Begins to read, in a thread of its own: to parse is as much work as to store. Also tells how many bytes there are, where
/// that is known.
pub fn read(path: &Path) -> Result<(mpsc::Receiver<Next>, Option<u64>), Failure> {
    let (sender, lines) = mpsc::channel(READ_AHEAD);
    if path == Path::new("-") {
        std::thread::spawn(move || read_lines(std::io::stdin().lock(), &sender));
        return Ok((lines, crate::cli::publish_input::stdin_bytes()));
    }
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.map_err(|error| Failure::new(Exit::Data, format!("{}: {error}", path.display())))?;
    std::thread::spawn(move || read_lines(file, &sender));
    Ok((lines, metadata.is_file().then_some(metadata.len())))
}

/// Reads until the end, until something is wrong, or until nobody wants more.
fn read_lines(input: impl Read, sender: &mpsc::Sender<Next>) {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    let mut reader = Reader::default();
    loop {
        let next = reader.next(&mut input);
        let is_last = !matches!(next, Some(Next::Event(..)));
        if next.is_some_and(|next| sender.blocking_send(next).is_err() || is_last) {
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
    /// `None`: a line that says nothing of its own.
    fn next(&mut self, input: &mut impl BufRead) -> Option<Next> {
        self.text.clear();
        let read = input.take(MAX_LINE_BYTES).read_until(b'\n', &mut self.text);
        self.line += 1;
        let damaged = |line: u64, problem: String| Some(Next::Damaged(line, format!("line {line}: {problem}")));
        match read {
            Ok(0) if self.is_headed => return Some(Next::CutOff(self.line - 1)),
            Ok(0) => return damaged(self.line, "there is nothing; an export begins with a header".to_owned()),
            Ok(read) => self.end += read as u64,
            Err(error) => return damaged(self.line, format!("cannot read on: {error}")),
        }
        let is_whole = self.text.ends_with(b"\n");
        if !is_whole && self.text.len() as u64 == MAX_LINE_BYTES {
            return damaged(self.line, format!("is longer than {MAX_LINE_BYTES} bytes"));
        }
        if is_whole {
            self.text.pop();
        }
        match self.parse() {
            Ok(next) => next,
            // A line without its end was being written when the file was cut off.
            Err(_) if !is_whole && self.is_headed => Some(Next::CutOff(self.line - 1)),
            Err(problem) => damaged(self.line, problem),
        }
    }

    fn parse(&mut self) -> Result<Option<Next>, String> {
        let text = std::str::from_utf8(&self.text).map_err(|error| format!("is not UTF-8: {error}"))?;
        if !self.is_headed {
            let header = serde_json::from_str::<Header>(text);
            let header = header.map_err(|error| format!("is no header of an export: {error}"))?;
            if header.runlog_export != VERSION {
                let found = header.runlog_export;
                return Err(format!("runlog_export: this program reads version {VERSION}; the file is of {found}"));
            }
            self.is_headed = true;
            return Ok(None);
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
                None => Ok(Some(Next::End)),
                Some((field, _)) => Err(format!("{field}: is not that of the lines before; the file was changed")),
            };
        }
        let imported = line::parse_event(self.line, text)?;
        self.tally.add(&self.text, imported.event.seq == 1);
        Ok(Some(Next::Event(Box::new(imported), self.end)))
    }
}
