//! `runlog backup`, `runlog verify` and `runlog restore`: copies of a whole SQLite store.
//!
//! `partial` is a file that gets its name once it is whole, `checks` the checks of a file, `report` what the commands print,
//! `source` the server or the file that is copied.

mod checks;
pub mod make;
mod partial;
mod report;
pub mod restore;
mod source;
pub mod verify;
