//! `runlog export` and `runlog import`: the log as a file of lines, for a backup or a move to another store.
//!
//! `line` is the file format, `source` the exported server or store, `target` the destination of an export, `output` the
//! writer of the file, `input` the reader of the file, `spool` the temporary copy of a stream that cannot be read twice.

pub mod export;
pub mod import;
mod input;
mod line;
mod output;
mod source;
mod spool;
mod target;
