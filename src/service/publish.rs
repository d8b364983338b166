//! Publishing.

use crate::domain::event::Appended;
use crate::domain::{Error, NewEvent, Result, RunId};
pub use crate::store::Receipt;
use crate::store::{Append, Condition};

use super::{Service, event_ids};

/// Events for one run.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The run; its first event creates it.
    pub run_id: RunId,
    /// In order; stored all or none.
    pub events: Vec<NewEvent>,
    /// The last seq that the run must have.
    pub expected_last_seq: Option<u64>,
}

impl Service {
    /// Stores the events and returns after they are durable.
    pub async fn publish(&self, publish: Publish) -> Result<Appended> {
        self.submit(publish).await?.stored().await
    }

    /// Takes the events in; the receipt tells when they are durable. Publishes are stored in the order in which their
    /// `submit` returned.
    pub async fn submit(&self, publish: Publish) -> Result<Receipt> {
        let (count, max) = (publish.events.len(), self.options.limits.max_request_events);
        if count == 0 || count > max {
            return Err(Error::invalid("events", format!("must hold 1 to {max} events; it has {count}")));
        }
        let Publish { run_id, events, expected_last_seq } = publish;
        event_ids::check(&events)?;
        let (agent_name, structure_id, recorded) = (None, None, None);
        let condition = expected_last_seq.map(Condition::LastSeq);
        self.store.submit(Append { run_id, events, condition, agent_name, structure_id, recorded }).await
    }
}
