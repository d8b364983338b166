//! What runlog is about, free of I/O and of any wire format: events, runs, cursors, the rules that turn one into the
//! other, and the one error. Values here are valid by construction: they are parsed at the door and nowhere else.

pub mod chunk;
pub mod cursor;
pub mod error;
pub mod event;
pub mod filter;
pub mod history;
pub mod id;
pub mod in_order;
pub mod json;
pub mod limits;
pub mod preview;
pub mod projection;
pub mod public_view;
pub mod record;
pub mod redaction;
pub mod run;
pub mod time;

pub use chunk::Chunk;
pub use cursor::{Cursor, FeedCursor, FeedId, Scope};
pub use error::{Code, Error, Result};
pub use event::{Event, NewEvent, Origin, Published};
pub use filter::EventFilter;
pub use id::{AgentName, EventId, EventType, RunId, StructureId};
pub use json::Payload;
pub use limits::Limits;
pub use public_view::View;
pub use run::{PendingInput, Run, RunStatus, Usage};
