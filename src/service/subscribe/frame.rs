//! Frames of a subscription.

use std::sync::Arc;

use crate::codec::record;
use crate::domain::{Result, RunStatus};
use crate::service::live::recent_events::EncodedEvents;

/// One frame of a subscription, with the cursor to continue after the frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// A [`Cursor`](crate::domain::Cursor) as text.
    pub cursor: String,
    /// Kind and content of the frame.
    pub kind: FrameKind,
}

/// Kind and content of a frame.
#[derive(Clone, Debug)]
pub enum FrameKind {
    /// Events, in order.
    Events(Vec<Arc<EncodedEvents>>),
    /// Once: all events that were stored at the start of the subscription are sent; later events are live.
    CaughtUp {
        /// The run's last seq; 0 over all runs.
        last_seq: u64,
    },
    /// No new events, or none that match the filter.
    Heartbeat,
    /// Once: the run ended and all events are sent. The last frame, unless the request keeps the subscription open.
    Ended {
        /// The final status.
        status: RunStatus,
        /// The run's last seq.
        last_seq: u64,
    },
}

/// Next step of a subscription.
#[derive(Debug)]
pub enum Step<T> {
    /// A frame to send.
    Frame(T),
    /// No frame before the next announcement or heartbeat.
    Nothing,
    /// The subscription is complete.
    End,
}

/// The seq of the last of these events; 0: there are none.
pub fn last_seq(batches: &[Arc<EncodedEvents>]) -> Result<u64> {
    let mut last = 0;
    if let Some(batch) = batches.last() {
        let mut rest = batch.data.clone();
        while !rest.is_empty() {
            last = record::header(&record::split_entry(&mut rest)?)?.seq;
        }
    }
    Ok(last)
}
