//! The server of a case until the next restart: the service over a store, with a hub whose notifications may be lost.

use std::collections::HashMap;
use std::future::Future;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runlog::domain::RunId;
use runlog::service::live::hub::{Hub, WindowLimits};
use runlog::service::{Service, ServiceOptions};
use runlog::store::{Commit, CommitListener, Interest, Latch, ProjectNumber, SharedStore};

use crate::faults::Unreliable;
use crate::ops::Setup;
use crate::stores::Backend;

/// Guard against a test that hangs; no other timing depends on the value.
pub const GUARD: Duration = Duration::from_secs(20);
/// Longer than a case takes on its own clock, so that heartbeats come only on request.
const HEARTBEAT: Duration = Duration::from_secs(300);

/// A server until the next restart.
pub struct Server {
    pub service: Service,
    pub store: SharedStore,
    pub faults: Arc<Unreliable>,
    pub signals: Arc<Signals>,
    pub draining: Latch,
}

/// The commit listener between the store and the hub, which may lose notifications.
pub struct Signals {
    pub hub: Arc<Hub>,
    pub lost: AtomicBool,
    /// The last seq of each run that was announced to the hub.
    announced: Mutex<HashMap<RunId, u64>>,
}

impl Signals {
    /// The last seq of a run that was announced to the hub. A publish in doubt is stored before it is announced.
    pub fn announced(&self, run: &RunId) -> u64 {
        self.announced.lock().unwrap().get(run).copied().unwrap_or_default()
    }
}

impl CommitListener for Signals {
    fn committed(&self, commit: Commit) {
        if !self.lost.load(Ordering::SeqCst) {
            let ends: Vec<_> = commit.runs.iter().map(|run| (run.run_id.clone(), run.scope_end.last)).collect();
            self.hub.committed(commit);
            self.announced.lock().unwrap().extend(ends);
        }
    }

    /// Never lost: an erasure is answered after it.
    fn removed(&self, project: ProjectNumber) {
        self.hub.removed(project);
    }

    fn interest(&self, project: ProjectNumber) -> Interest {
        self.hub.interest(project)
    }
}

impl Server {
    pub async fn start<B: Backend>(backend: &B, setup: &Setup) -> Self {
        let limits = WindowLimits { events: setup.window_events, bytes: setup.window_bytes, ..Default::default() };
        let hub = Arc::new(Hub::new(limits));
        let signals =
            Arc::new(Signals { hub: Arc::clone(&hub), lost: AtomicBool::new(false), announced: Mutex::default() });
        let store = backend.open(setup, Arc::clone(&signals) as Arc<dyn CommitListener>).await;
        let faults = Arc::new(Unreliable::over(store));
        let store: SharedStore = faults.clone();
        let options = ServiceOptions {
            max_page_bytes: setup.page_bytes,
            max_batch_bytes: setup.batch_bytes,
            heartbeat: HEARTBEAT,
            ..ServiceOptions::default()
        };
        let draining = Latch::default();
        let service = Service::new(Arc::clone(&store), hub, options, draining.clone());
        Self { service, store, faults, signals, draining }
    }
}

/// Waits with the guard's timeout.
#[track_caller]
pub fn guarded<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let due = tokio::time::timeout(GUARD, future).await;
        due.unwrap_or_else(|_| panic!("what is awaited at {caller} does not come"))
    }
}

/// Advances the clock past a heartbeat, so that readers poll the store.
pub async fn let_it_be_late() {
    tokio::time::pause();
    tokio::time::advance(HEARTBEAT + Duration::from_secs(1)).await;
    tokio::time::resume();
}
