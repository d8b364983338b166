//! Refusals of a backup.

/// Why no backup is made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupRefusal {
    /// The store makes no copy of itself.
    #[error(
        "a store in PostgreSQL is backed up by PostgreSQL's own means, such as pg_basebackup with an archive of its log, or \
         pg_dump; `runlog export` writes the log to a file"
    )]
    Unsupported,
    /// One backup is made or sent at a time.
    #[error("another backup is in progress, and a store makes one at a time; try again later")]
    InProgress,
    /// The disk of the store has no room for a copy.
    #[error(
        "a backup needs {needed_bytes} bytes beside the database, {reserve_bytes} of them to spare for events, and \
         {free_bytes} are free; free space, or copy the file to another disk with `runlog backup --data`"
    )]
    NoSpace {
        /// Bytes of the copy and of what is kept free.
        needed_bytes: u64,
        /// Bytes that are kept free for events.
        reserve_bytes: u64,
        /// Free bytes of the disk.
        free_bytes: u64,
    },
}
