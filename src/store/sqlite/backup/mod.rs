//! Copies of the file: of a served one, and of one without a server; checks of a copy, and what a restored copy changes.
//!
//! | module | content |
//! |---|---|
//! | `copy` | SQLite's own copy of one moment (`VACUUM INTO`), and what is left out of it |
//! | `served` | copies of the file that this process serves: one at a time, on a connection beside the committer |
//! | `space` | room for a copy on the disk of the store |
//! | `unserved` | copies of a file that another process, or none, serves |
//! | `verify` | all checks of a copy |
//! | `reader`, `contents` | the events and runs of a copy, and digests of them by project |
//! | `new_feed` | new ids of the feeds of a restored copy |
//! | `error` | errors of the work on copies |

mod contents;
mod copy;
mod error;
mod new_feed;
mod reader;
mod served;
mod space;
mod unserved;
mod verify;

pub use contents::{ProjectContents, contents};
pub use error::BackupError;
pub use new_feed::give_new_feeds;
pub use reader::{BackupReader, EventsPart};
pub(super) use served::{Backups, remove_leftover};
pub use unserved::copy_file;
pub use verify::{is_backup, verify};
