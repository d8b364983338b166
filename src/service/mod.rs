//! The service: publish, list, subscribe, runs and controls, the same for every transport.

pub mod access;
pub mod backup;
pub mod control;
mod epochs;
pub mod erase;
mod event_ids;
mod finish;
pub mod import;
pub mod list;
pub mod live;
pub mod publish;
pub mod runs;
pub mod subscribe;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};

use crate::domain::{Error, KeyScope, Limits, Result, View};
use crate::store::{Latch, ProjectNumber, SharedStore};

use access::{Caller, CallerDescription};
use live::hub::Hub;

/// Limits of the service, from the options of `runlog serve`.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Limits of one request.
    pub limits: Limits,
    /// Record bytes after which a page of a listing ends.
    pub max_page_bytes: usize,
    /// Record bytes after which a frame of a subscription ends.
    pub max_batch_bytes: usize,
    /// Record bytes of the read-ahead of all subscriptions together.
    pub read_ahead_bytes: usize,
    /// Most concurrent subscriptions.
    pub max_subscriptions: usize,
    /// Heartbeat interval of a subscription without an interval in the request.
    pub heartbeat: Duration,
    /// Whether a `FinishStructureRunEvent` ends its run.
    pub finish_ends_run: bool,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            max_page_bytes: 3 << 20,
            max_batch_bytes: 512 << 10,
            read_ahead_bytes: 64 << 20,
            max_subscriptions: 20_000,
            heartbeat: Duration::from_secs(10),
            finish_ends_run: false,
        }
    }
}

/// The service of one store, for one caller. A clone is cheap and shares all state.
#[derive(Clone)]
pub struct Service {
    /// The store as the project of the caller sees it.
    store: SharedStore,
    /// In one place, because each call clones the service.
    shared: Arc<Shared>,
    caller: Caller,
}

/// What the service has for all callers.
struct Shared {
    hub: Arc<Hub>,
    options: ServiceOptions,
    subscriptions: Arc<Semaphore>,
    read_ahead: Arc<Semaphore>,
    draining: Latch,
    /// Held while the usage of runs is summed.
    usage_turn: Mutex<()>,
}

impl Service {
    /// A service over a store whose listener is `hub`, for callers in this process. When `draining` is set,
    /// subscriptions end with `ShuttingDown`; publishes under way finish.
    #[must_use]
    pub fn new(store: SharedStore, hub: Arc<Hub>, options: ServiceOptions, draining: Latch) -> Self {
        let subscriptions = Arc::new(Semaphore::new(options.max_subscriptions));
        let read_ahead = Arc::new(Semaphore::new(options.read_ahead_bytes));
        let shared = Shared { hub, options, subscriptions, read_ahead, draining, usage_turn: Mutex::default() };
        Self { store, shared: Arc::new(shared), caller: Caller::local() }
    }

    /// The same service for another caller, in the project of that caller.
    #[must_use]
    pub fn for_caller(&self, caller: Caller) -> Self {
        let store = match caller.project_number() {
            same if same == self.project() => Arc::clone(&self.store),
            other => self.store.in_project(other),
        };
        Self { store, shared: Arc::clone(&self.shared), caller }
    }

    fn project(&self) -> ProjectNumber {
        self.caller.project_number()
    }

    /// Who calls.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What the caller may do.
    pub fn describe_caller(&self) -> Result<CallerDescription> {
        self.caller.describe()
    }

    /// The view of payloads that the caller gets: the requested one, or `default`, which is reduced to the public view for a
    /// caller without the scope `events.read_sensitive`. Fails with `ScopeMissing` for a requested full view.
    pub fn view(&self, requested: Option<View>, default: View) -> Result<View> {
        match requested {
            Some(View::Full) => self.caller.require_full_view().map(|()| View::Full),
            Some(view) => Ok(view),
            None if self.caller.has(KeyScope::EventsReadSensitive) => Ok(default),
            None => Ok(View::Public),
        }
    }

    /// Size of a page of a request; `field` is its name, and `default` stands for 0.
    fn page_size(&self, field: &'static str, asked: usize, default: usize) -> Result<usize> {
        let max = self.shared.options.limits.max_page_size;
        match asked {
            0 => Ok(default.min(max)),
            size if size <= max => Ok(size),
            size => Err(Error::invalid(field, format!("must be at most {max}; it is {size}"))),
        }
    }

    /// Bytes that the parts of the service hold, by name.
    #[must_use]
    pub fn held_bytes(&self) -> [(&'static str, usize); 3] {
        let read_ahead =
            self.shared.options.read_ahead_bytes.saturating_sub(self.shared.read_ahead.available_permits());
        [("queue", self.store.queued_bytes()), ("read_ahead", read_ahead), ("windows", self.shared.hub.held_bytes())]
    }

    /// Whether the store answers and the server does not drain.
    pub async fn ready(&self) -> Result<()> {
        if self.is_draining() {
            return Err(Error::ShuttingDown);
        }
        self.store_ready().await
    }

    /// Checks the store in a separate task. A caller that gives up must not return the check's connection to the pool with a
    /// response outstanding.
    async fn store_ready(&self) -> Result<()> {
        let store = Arc::clone(&self.store);
        tokio::spawn(async move { store.ready().await }).await.unwrap_or_else(|panic| Err(Error::internal(panic)))
    }

    /// The kind of the store, and whether it answers.
    pub async fn store_health(&self) -> (&'static str, Result<()>) {
        (self.store.kind(), self.store_ready().await)
    }

    /// Resolves when the store can never serve again, with the reason.
    pub async fn store_lost(&self) -> Error {
        self.store.lost().await
    }

    /// Whether the server drains.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.is_set()
    }

    /// Fails while the server drains, and after the end of the caller's key. For streams, which began before.
    pub fn check_open(&self) -> Result<()> {
        if self.is_draining() { Err(Error::ShuttingDown) } else { self.caller.check() }
    }

    /// Resolves when streams of the caller have to end, with the reason.
    pub async fn closed(&self) -> Error {
        tokio::select! {
            biased;
            () = self.shared.draining.wait() => Error::ShuttingDown,
            end = self.caller.ended() => end,
        }
    }

    /// The limits of one request.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.options.limits
    }
}
