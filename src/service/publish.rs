//! Publish: checks a request and submits the events to the store.

use crate::domain::event::Appended;
use crate::domain::{Error, KeyScope, NewEvent, Origin, Result, RunId};
use crate::store::{Append, Condition};
pub use crate::store::{Receipt, Sequence};

use super::access::StreamPlace;
use super::{Service, event_ids};

/// A request to publish events of one run.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The run; its first event creates it.
    pub run_id: RunId,
    /// Events in order; all are stored, or none.
    pub events: Vec<NewEvent>,
    /// The last seq that the run must have for new events to be stored; `None`: any.
    pub expected_last_seq: Option<u64>,
}

impl Service {
    /// Stores the events. Returns when the events are durable.
    pub async fn publish(&self, publish: Publish) -> Result<Appended> {
        self.submit(publish, None).await?.stored().await
    }

    /// Submits the events; the receipt resolves when the events are durable. Publishes of one run are stored in the order in which
    /// the `submit` calls returned, and of one sequence none is in an earlier commit than one before.
    pub async fn submit(&self, publish: Publish, sequence: Option<Sequence>) -> Result<Receipt> {
        self.caller.require(KeyScope::EventsPublish)?;
        if publish.events.iter().any(|event| event.origin == Origin::System) {
            self.caller.require(KeyScope::EventsPublishSystem)?;
        }
        let (count, max) = (publish.events.len(), self.shared.options.limits.max_request_events);
        if count == 0 || count > max {
            return Err(Error::invalid("events", format!("must hold 1 to {max} events; it has {count}")));
        }
        let Publish { run_id, events, expected_last_seq } = publish;
        self.check_sizes(&events)?;
        event_ids::check(&events)?;
        self.caller.limits().publish(count, || events.iter().map(|event| event.payload.as_str().len()).sum()).await?;
        let condition = expected_last_seq.map(Condition::LastSeq);
        let completion = self.completion(&run_id, &events).await?.map(Box::new);
        self.store.submit(Append { condition, completion, sequence, ..Append::new(run_id, events) }).await
    }

    /// Takes the place of a stream of publishes, which the stream holds to its end. Fails with `RateLimited` if the key has too
    /// many streams open. The origin of an event is checked with the event.
    pub async fn begin_publish_stream(&self) -> Result<StreamPlace> {
        self.caller.require(KeyScope::EventsPublish)?;
        self.caller.limits().stream().await
    }

    /// Checks the payloads of callers in this process too, which may not have parsed them within the limits.
    fn check_sizes(&self, events: &[NewEvent]) -> Result<()> {
        let max = self.shared.options.limits.max_payload_bytes;
        for (index, event) in events.iter().enumerate() {
            let size = event.payload.as_str().len();
            if size > max {
                let problem = format!("must be at most {max} bytes; it has {size}");
                return Err(Error::invalid(format!("events[{index}].payload"), problem));
            }
        }
        Ok(())
    }
}
