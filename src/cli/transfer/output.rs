//! The file that an export grows: new, or one that was cut off and is gone on with.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::line::{Header, Tally, Trailer, VERSION};
use crate::cli::exit::{Exit, Failure};
use crate::cli::json_line;

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// Where the lines go, and what they add up to.
pub struct Output {
    to: BufWriter<Box<dyn Write>>,
    /// None: stdout.
    file: Option<(PathBuf, File)>,
    tally: Tally,
}

/// What a file holds that was cut off.
pub struct Begun {
    /// Its first line.
    pub header: Header,
    /// The last event that is whole, as run and seq.
    pub last: Option<(String, u64)>,
    /// Whether its last line is there: nothing is to be done.
    pub is_whole: bool,
}

/// What tells where an event lies.
#[derive(Deserialize)]
struct Place {
    run_id: String,
    seq: u64,
}

impl Output {
    /// To stdout.
    pub fn stdout() -> Self {
        let to: Box<dyn Write> = Box::new(io::stdout().lock());
        Self { to: BufWriter::with_capacity(BUFFER_BYTES, to), file: None, tally: Tally::default() }
    }

    /// To a file that is not there yet.
    pub fn new(path: &Path) -> Result<Self, Failure> {
        let file = File::options().write(true).create_new(true).open(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let message = format!("--output {}: is there already", path.display());
                Failure::new(Exit::Conflict, message).hint("name another file, or go on with this one by --resume")
            }
            _ => failed(path, &error),
        })?;
        Self::to(path, file, Tally::default())
    }

    /// Goes on behind the last whole line of a file. A file that is missing or empty is begun; it has no `Begun`.
    pub fn resume(path: &Path) -> Result<(Self, Option<Begun>), Failure> {
        let broken = |error| failed(path, &error);
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = opened.map_err(broken)?;
        let mut tally = Tally::default();
        let (begun, end) = read_back(path, &file, &mut tally)?;
        file.set_len(end).and_then(|()| file.seek(SeekFrom::End(0))).map_err(broken)?;
        Ok((Self::to(path, file, tally)?, begun))
    }

    fn to(path: &Path, file: File, tally: Tally) -> Result<Self, Failure> {
        let to: Box<dyn Write> = Box::new(file.try_clone().map_err(|error| failed(path, &error))?);
        Ok(Self { to: BufWriter::with_capacity(BUFFER_BYTES, to), file: Some((path.to_owned(), file)), tally })
    }

    /// The first line.
    pub fn header(&mut self, header: &Header) -> Result<(), Failure> {
        self.line(header)
    }

    /// The next event.
    pub fn event(&mut self, line: &str, is_first_of_run: bool) -> Result<(), Failure> {
        self.tally.add(line.as_bytes(), is_first_of_run);
        self.to.write_all(line.as_bytes()).and_then(|()| self.to.write_all(b"\n")).map_err(|error| self.broken(&error))
    }

    /// The last line. Returns when the file is on the disk, what it holds.
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

    /// What is in it.
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

/// Reads what is there; returns where its last whole line ends.
fn read_back(path: &Path, file: &File, tally: &mut Tally) -> Result<(Option<Begun>, u64), Failure> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut line = Vec::new();
    let (mut begun, mut number, mut end): (Option<Begun>, u64, u64) = (None, 0, 0);
    let damaged = |number: u64, problem: &str| {
        let hint = "this is not what `runlog export` left; export into a new file";
        Err(Failure::new(Exit::Data, format!("{}: line {number}: {problem}", path.display())).hint(hint))
    };
    loop {
        line.clear();
        let read = input.by_ref().read_until(b'\n', &mut line).map_err(|error| failed(path, &error))?;
        if read == 0 || line.pop() != Some(b'\n') {
            // A line without its end was being written when the export was cut off.
            return Ok((begun, end));
        }
        number += 1;
        match &mut begun {
            None => match serde_json::from_slice::<Header>(&line) {
                Ok(header) if header.runlog_export == VERSION => {
                    begun = Some(Begun { header, last: None, is_whole: false });
                }
                _ => return damaged(number, "is no header of an export of this version"),
            },
            Some(begun) if begun.is_whole => return damaged(number, "lies behind the end of the export"),
            Some(begun) => match serde_json::from_slice::<Place>(&line) {
                Ok(Place { run_id, seq }) => {
                    tally.add(&line, seq == 1);
                    begun.last = Some((run_id, seq));
                }
                Err(_) => match serde_json::from_slice::<Trailer>(&line) {
                    Ok(trailer) if trailer == tally.trailer() => begun.is_whole = true,
                    _ => return damaged(number, "is neither an event nor the right end"),
                },
            },
        }
        end += read as u64;
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Other, format!("--output {}: {error}", path.display()))
}
