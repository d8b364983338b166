//! The latency of the disk alone: the lower limit for a durable acknowledgement.

use std::fs::OpenOptions;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

/// Content of a write.
const WRITE: [u8; 4_096] = [7; 4_096];
/// Number of writes.
const WRITES: usize = 300;

/// Median time of a write of 4 KiB with fdatasync, in a file of preallocated size.
pub fn fdatasync_ms(directory: &Path) -> Result<f64> {
    let path = directory.join("probe");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    for _ in 0..WRITES {
        file.write_all(&WRITE)?;
    }
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let mut times = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let began = Instant::now();
        file.write_all(&WRITE)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    std::fs::remove_file(path)?;
    Ok(times[WRITES / 2].as_secs_f64() * 1e3)
}
