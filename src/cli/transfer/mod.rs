//! `runlog export` and `runlog import`: a log as a file of lines, to keep it or to move it to another store.
//!
//! `line` is the format in both directions, `source` what is exported from, `target` where it goes to, `output` the file
//! that grows, `input` the lines that are read back, `spool` what of them cannot be read twice.

pub mod export;
pub mod import;
mod input;
mod line;
mod output;
mod source;
mod spool;
mod target;
