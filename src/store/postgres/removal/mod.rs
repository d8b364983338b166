//! Removal of events: retention, erasure, compaction and holds. All of it happens under the advisory lock of removals of the project, one
//! small transaction after the other. No commit waits for the lock, and only an erasure locks the row of a run.
//!
//! | module | content |
//! |---|---|
//! | `expire`, `slice` | one slice of retention; what happens to each event of it, by `store/retention` |
//! | `replicas` | wait of an erasure for the memory of all replicas |
//! | `erase`, `documents` | erasure of payloads; documents of the run that came from them |
//! | `compact` | compaction: one event of several gets their joined text |
//! | `hold` | holds of runs |
//! | `rewrites` | rows of events that lose their payload, or get another one |
//! | `state` | the lock, and what `feed_retention` says of a feed |
//! | `files` | erased payloads in the files of the server |

mod compact;
mod documents;
mod erase;
mod expire;
mod files;
mod hold;
mod replicas;
mod rewrites;
mod slice;
mod state;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::watch;

use super::connect::readers::Readers;
use super::feed::signals::FeedSignal;
use crate::store::{CommitListener, ProjectNumber};

/// Removes events of all projects.
pub struct Removals {
    pub readers: Arc<Readers>,
    pub connect: PgConnectOptions,
    pub listener: Arc<dyn CommitListener>,
    /// The follower's signal.
    pub signal: watch::Sender<FeedSignal>,
    /// Position of each project up to which no event but those of held runs has a payload, because the project had too many bytes.
    /// A pass from the beginning resets it.
    pub cleared: Mutex<HashMap<ProjectNumber, u64>>,
}
