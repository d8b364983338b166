//! Erasure of payloads, and holds of runs against retention. Both need the scope `admin` once the store holds a key, and are
//! recorded in the audit log.

use crate::domain::{Error, Result, Run, RunId, Scope};

use super::Service;
use super::access::audit::Action;

/// Events whose payloads are erased.
#[derive(Clone, Debug)]
pub struct EraseEvents {
    /// The run.
    pub run_id: RunId,
    /// First seq; 0: the first of the run.
    pub first_seq: u64,
    /// Last seq; 0: the last of the run.
    pub last_seq: u64,
}

/// Result of an erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// First seq of the range, as far as the run keeps it.
    pub first_seq: u64,
    /// Last seq of the range, as far as the run has it.
    pub last_seq: u64,
    /// Number of events in the range, all without payload now.
    pub events: u64,
}

impl Service {
    /// Erases the payloads of a range of events of a run. Repeating it is safe.
    pub async fn erase_events(&self, erase: &EraseEvents) -> Result<Erased> {
        self.caller.require_admin()?;
        let EraseEvents { run_id, first_seq, last_seq } = erase;
        if *last_seq > 0 && last_seq < first_seq {
            return Err(Error::invalid("last_seq", format!("must be at least first_seq, which is {first_seq}")));
        }
        let action = Action::begin(&self.caller, "erase_events", &format!("{run_id} {first_seq}..{last_seq}"));
        // In a task of its own: an erasure goes on when its caller goes away.
        let (service, erase) = (self.clone(), erase.clone());
        let task = tokio::spawn(async move {
            let erased = service.erased(&erase).await;
            action.end(&erased);
            erased
        });
        task.await.unwrap_or_else(|panic| Err(Error::internal(panic)))
    }

    async fn erased(&self, erase: &EraseEvents) -> Result<Erased> {
        let scope = Scope::Run(erase.run_id.clone());
        let extent = self.store.extent(&scope).await?;
        let first_seq = extent.first.max(erase.first_seq);
        let last_seq = if erase.last_seq == 0 { extent.end.last } else { erase.last_seq.min(extent.end.last) };
        let events = self.store.erase(&erase.run_id, first_seq..=last_seq).await?;
        Ok(Erased { first_seq, last_seq, events })
    }

    /// Holds a run, so that retention passes it over, or releases it. Returns the run.
    pub async fn hold_run(&self, run_id: &RunId, is_held: bool) -> Result<Run> {
        self.caller.require_admin()?;
        let action = Action::begin(&self.caller, if is_held { "hold_run" } else { "release_run" }, run_id.as_str());
        let held = self.store.hold(run_id, is_held).await;
        action.end(&held);
        held?;
        self.stored_run(run_id).await
    }
}
