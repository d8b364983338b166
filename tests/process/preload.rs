//! A library that the server's process loads before the system's own: the faults of a disk, without a device and without root.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Removed when dropped.
pub struct Library(TempDir);

impl Library {
    /// Of this C source, by the compiler that builds SQLite too.
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

    /// For `LD_PRELOAD`.
    pub fn path(&self) -> PathBuf {
        self.0.path().join("library.so")
    }
}
