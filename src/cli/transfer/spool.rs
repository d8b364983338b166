//! Temporary copy of a stream, for a second pass.

use std::fs::File;
use std::io::{self, Read, Write};

use crate::cli::outcome::{Exit, Failure};

/// Reader that copies all bytes to an unnamed temporary file. The operating system removes the file when the program ends,
/// even after a crash.
pub struct Spooled<R> {
    from: R,
    kept: File,
}

impl<R: Read> Spooled<R> {
    /// The copy lies in the directory for temporary files, `TMPDIR`.
    pub fn new(from: R) -> Result<Self, Failure> {
        let kept = tempfile::tempfile().map_err(|error| Failure::new(Exit::Other, problem(&error)).hint(HINT))?;
        Ok(Self { from, kept })
    }

    /// A handle of the copy.
    pub fn kept(&self) -> Result<File, Failure> {
        self.kept.try_clone().map_err(|error| Failure::new(Exit::Other, problem(&error)))
    }
}

const HINT: &str = "TMPDIR names another directory; an export that is a file needs none";

fn problem(error: &io::Error) -> String {
    format!("cannot keep the input in {}: {error}", std::env::temp_dir().display())
}

impl<R: Read> Read for Spooled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        let kept = self.kept.write_all(&buffer[..read]);
        kept.map_err(|error| io::Error::new(error.kind(), format!("{}; {HINT}", problem(&error))))?;
        Ok(read)
    }
}
