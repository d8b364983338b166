//! A library preloaded into the server's process to simulate disk faults, without a device and without root.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A compiled library, removed when dropped.
pub struct Library(TempDir);

impl Library {
    /// Compiles C source with the compiler that builds SQLite.
    pub fn new(source: &str) -> Self {
        let library = Self(TempDir::new().unwrap());
        let file = library.0.path().join("library.c");
        std::fs::write(&file, source).unwrap();
        let mut command = Command::new("cc");
        command.args(["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", "-o"]);
        let made = command.args([&library.path(), &file]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        library
    }

    /// The value for `LD_PRELOAD`.
    pub fn path(&self) -> PathBuf {
        self.0.path().join("library.so")
    }
}
