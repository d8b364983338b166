//! Destination of an export. An existing file is not changed before two checks: the file is an export of this program, and
//! the source of the export answers and has the same feed.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::input::MAX_LINE_BYTES;
use super::line::{Header, Tally, Trailer, VERSION};
use super::output::{BUFFER_BYTES, Output, failed};
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::json_line;

/// Minimum length of an incomplete header that is recognised as an export, bytes.
const RECOGNISABLE_BYTES: usize = b"{\"runlog_".len();

/// Destination of an export before the first write.
pub enum Target {
    Stdout,
    /// A file that does not exist.
    New(PathBuf),
    /// A file to resume: an export, whole or interrupted, or an empty file.
    Begun(Box<Begun>),
}

/// Content of a file to resume.
pub struct Begun {
    path: PathBuf,
    file: File,
    /// First line; `None` if the file ends within the header, without an event.
    pub header: Option<Header>,
    /// The last complete event.
    pub last: Option<EventPlace>,
    /// Last seq of each run in the file, of an export of chosen runs or of a feed that has lost its first events.
    pub run_ends: BTreeMap<String, u64>,
    /// The trailer is present, so the export is complete.
    pub is_whole: bool,
    tally: Tally,
    /// Byte offset behind the last complete event, or the header.
    end: u64,
    /// Size of the file when read, bytes.
    size: u64,
}

/// Place and id of an event line; other members are ignored.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct EventPlace {
    pub run_id: String,
    pub seq: u64,
    pub event_id: String,
    /// Set for the first event of a run that had lost the events before.
    #[serde(default)]
    pub run_first_seq: Option<u64>,
}

impl Target {
    /// A new file; an error if the path exists.
    pub fn new(path: &Path) -> Result<Self, Failure> {
        match path.symlink_metadata() {
            Ok(_) => Err(is_there(path)),
            Err(_) => Ok(Self::New(path.to_owned())),
        }
    }

    /// Locks and reads a file to resume, without a write. A missing file counts as new.
    pub fn resume(path: &Path) -> Result<Self, Failure> {
        let broken = |error| failed(path, &error);
        match path.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::new(path),
            Err(error) => return Err(broken(error)),
            Ok(metadata) if !metadata.is_file() => {
                return Err(Failure::new(Exit::Data, format!("--file {}: is no regular file", path.display())));
            }
            Ok(_) => {}
        }
        let file = File::options().read(true).write(true).open(path).map_err(broken)?;
        lock(path, &file)?;
        Begun::read(path, file).map(|begun| Self::Begun(Box::new(begun)))
    }

    /// The file to resume, if any.
    pub fn begun(&self) -> Option<&Begun> {
        match self {
            Self::Begun(begun) => Some(begun),
            Self::Stdout | Self::New(_) => None,
        }
    }

    /// Creates the file, or truncates an incomplete last line and the trailer. Writes the header unless present. First write to
    /// the file.
    pub fn open(self, header: &Header) -> Result<Output, Failure> {
        let mut output = match self {
            Self::Stdout => Output::stdout(),
            Self::New(path) => {
                let file = File::options().write(true).create_new(true).open(&path).map_err(|error| {
                    let is_taken = error.kind() == io::ErrorKind::AlreadyExists;
                    if is_taken { is_there(&path) } else { failed(&path, &error) }
                })?;
                lock(&path, &file)?;
                Output::to(&path, file, Tally::default())?
            }
            Self::Begun(begun) => {
                let Begun { path, mut file, tally, end, size, .. } = *begun;
                let broken = |error| failed(&path, &error);
                if file.metadata().map_err(broken)?.len() != size {
                    return Err(Failure::new(Exit::Conflict, format!("--file {}: changed meanwhile", path.display())));
                }
                file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(broken)?;
                let output = Output::to(&path, file, tally)?;
                if end > 0 {
                    return Ok(output);
                }
                output
            }
        };
        output.header(header)?;
        Ok(output)
    }
}

impl Begun {
    /// Number of complete events in the file.
    pub fn events(&self) -> u64 {
        self.tally.events()
    }

    fn read(path: &Path, mut file: File) -> Result<Self, Failure> {
        let broken = |error| failed(path, &error);
        let size = file.metadata().map_err(broken)?.len();
        let expected = format!("{{\"runlog_export\":{VERSION},\"feed\":\"");
        let mut head = Vec::new();
        (&file).take(expected.len() as u64).read_to_end(&mut head).map_err(broken)?;
        let is_recognised = expected.as_bytes().starts_with(&head) && head.len() >= RECOGNISABLE_BYTES;
        if size > 0 && !is_recognised {
            return Err(foreign(path, 1, NO_HEADER));
        }
        file.rewind().map_err(broken)?;
        let path = path.to_owned();
        let (header, last, run_ends, tally) = (None, None, BTreeMap::new(), Tally::default());
        let mut begun = Self { path, file, header, last, run_ends, is_whole: false, tally, end: 0, size };
        begun.read_lines()?;
        Ok(begun)
    }

    fn read_lines(&mut self) -> Result<(), Failure> {
        let file = self.file.try_clone().map_err(|error| failed(&self.path, &error))?;
        let mut input = BufReader::with_capacity(BUFFER_BYTES, file);
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            let read = input.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
            let read = read.map_err(|error| failed(&self.path, &error))?;
            if read == 0 {
                break;
            }
            let is_whole = line.pop_if(|byte| *byte == b'\n').is_some();
            if !is_whole && read as u64 == MAX_LINE_BYTES {
                return Err(foreign(&self.path, number, "is longer than a line of an export can be"));
            }
            self.take(&line, is_whole).map_err(|problem| foreign(&self.path, number, problem))?;
            if !is_whole {
                break;
            }
            if !self.is_whole {
                self.end += read as u64;
            }
        }
        Ok(())
    }

    /// Checks the next line. A line without a line break was cut off during the write.
    fn take(&mut self, line: &[u8], is_whole: bool) -> Result<(), &'static str> {
        if self.header.is_none() {
            self.header = match serde_json::from_slice::<Header>(line) {
                // Our header has exactly one spelling; other white space means another program.
                Ok(header) if json_line::line(&header).is_ok_and(|ours| ours.as_bytes() == line) => Some(header),
                Err(error) if error.is_eof() && !is_whole => None,
                _ => return Err(NO_HEADER),
            };
            return Ok(());
        }
        if self.is_whole {
            return Err("lies behind the end of the export");
        }
        if !is_whole {
            let is_ours = HEADS.iter().any(|head| head.starts_with(line) || line.starts_with(head));
            return if is_ours { Ok(()) } else { Err(NO_EVENT) };
        }
        match serde_json::from_slice::<EventPlace>(line) {
            Ok(place) if line.ends_with(b"}") => {
                self.tally.add(line, place.seq == 1 || place.run_first_seq.is_some());
                if self.header.as_ref().is_some_and(|header| header.runs.is_some() || header.after > 0) {
                    self.run_ends.insert(place.run_id.clone(), place.seq);
                }
                self.last = Some(place);
            }
            _ => match serde_json::from_slice::<Trailer>(line) {
                Ok(trailer) if trailer == self.tally.trailer() => self.is_whole = true,
                _ => return Err(NO_EVENT),
            },
        }
        Ok(())
    }
}

const NO_HEADER: &str = "is no header of an export of this version";
const NO_EVENT: &str = "is neither an event nor the right end";
/// Prefixes of the lines behind the header.
const HEADS: [&[u8]; 2] = [b"{\"run_id\":\"", b"{\"runlog_export_end\":"];

/// Exclusive lock for as long as the file is open. A file system without locks is accepted.
fn lock(path: &Path, file: &File) -> Result<(), Failure> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(Failure::new(Exit::Conflict, format!("--file {}: another export writes it", path.display())))
        }
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

fn foreign(path: &Path, line: u64, problem: &str) -> Failure {
    let hint = "this is not what `runlog export` left, and it is left as it is; export into a new file";
    Failure::new(Exit::Data, format!("{}: line {line}: {problem}", path.display())).hint(hint)
}

fn is_there(path: &Path) -> Failure {
    let message = format!("--file {}: is there already", path.display());
    Failure::new(Exit::Conflict, message).hint("name another file, or go on with this one by --resume")
}
