//! Domain types and rules, free of I/O and of any wire format: events, runs, cursors, the projection of events to the state
//! of a run, and the error enum. Values are valid by construction: each type is parsed once, at an entry point.

pub mod access;
pub mod compaction;
pub mod cursor;
pub mod error;
pub mod event;
pub mod event_types;
pub mod filter;
pub mod history;
pub mod ids;
pub mod in_order;
pub mod json;
pub mod limits;
pub mod projection;
pub mod retention;
pub mod run;
pub mod run_filter;
pub mod run_status;
pub mod time;
pub mod usage;

pub use access::{KeyId, KeyScope, KeyScopes, ProjectId};
pub use cursor::{Cursor, FeedCursor, Scope};
pub use error::{BackupRefusal, Code, Error, Result};
pub use event::{Event, NewEvent, Origin, Published, Removal};
pub use event_types::EventType;
pub use filter::EventFilter;
pub use history::FeedId;
pub use ids::{AgentName, EventId, RunId, SearchText, StructureId};
pub use json::Payload;
pub use json::public_view::View;
pub use limits::Limits;
pub use run::{PendingInput, Run, Usage};
pub use run_filter::RunFilter;
pub use run_status::RunStatus;
