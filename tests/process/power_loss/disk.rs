//! The simulated disk of `disk.c`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::preload::Library;

/// Behaviour of the disk until the next power loss.
#[derive(Clone, Copy, Debug, Default)]
pub struct Behaviour {
    /// Percentage of sectors, lengths and names that reach the disk before a sync.
    pub write_back: u64,
    /// The server dies in the middle of this sync; 0: in none.
    pub at_sync: u64,
    /// Syncs succeed and keep nothing.
    pub syncs_lie: bool,
    /// Seed of the random choices.
    pub seed: u64,
}

/// The directory of a database on a disk that loses power. Each server process has its own copy.
pub struct Disk {
    directory: TempDir,
    library: Library,
    life: u32,
}

impl Disk {
    pub fn new() -> Self {
        let disk = Self { directory: TempDir::new().unwrap(), library: Library::new(include_str!("disk.c")), life: 0 };
        disk.make_directories();
        disk
    }

    /// A path in the current copy.
    fn path(&self, name: &str) -> PathBuf {
        // The library compares resolved paths.
        self.directory.path().canonicalize().unwrap().join(self.life.to_string()).join(name)
    }

    fn make_directories(&self) {
        for name in ["data", "image/names", "image/contents"] {
            fs::create_dir_all(self.path(name)).unwrap();
        }
    }

    pub fn file(&self) -> PathBuf {
        self.path("data/runlog.db")
    }

    /// The environment for a server on the current copy.
    pub fn environment(&self, behaviour: Behaviour) -> [(&'static str, PathBuf); 7] {
        let Behaviour { write_back, at_sync, syncs_lie, seed } = behaviour;
        let number = |number: u64| PathBuf::from(number.to_string());
        [
            ("LD_PRELOAD", self.library.path()),
            ("POWER_LOSS_DATA", self.path("data")),
            ("POWER_LOSS_IMAGE", self.path("image")),
            ("POWER_LOSS_WRITE_BACK", number(write_back)),
            ("POWER_LOSS_AT_SYNC", number(at_sync)),
            ("POWER_LOSS_SYNCS_LIE", number(syncs_lie.into())),
            ("POWER_LOSS_SEED", number(seed)),
        ]
    }

    /// After the death of the server: the next copy holds the contents of the disk.
    pub fn lose_power(&mut self) {
        let before = self.path("");
        let held = self.path("image/names");
        self.life += 1;
        self.make_directories();
        for entry in fs::read_dir(held).unwrap() {
            let name = entry.unwrap().file_name();
            let name = Path::new(&name);
            let (real, held) = (self.path("data").join(name), self.path("image/names").join(name));
            fs::copy(before.join("image/names").join(name), &real).unwrap();
            fs::copy(&real, &held).unwrap();
            let content = self.path("image/contents").join(real.metadata().unwrap().ino().to_string());
            fs::hard_link(held, content).unwrap();
        }
        fs::remove_dir_all(before).unwrap();
    }
}
