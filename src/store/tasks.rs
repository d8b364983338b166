//! The background tasks that a store cannot work without. A panic of such a task is reported: the process would live
//! on, but would never store or announce an event again.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The defect of a store that lacks one of its tasks.
pub const ENDED: &str = "a background task of the store has ended";

/// The background tasks of one store.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    defect: CancellationToken,
}

impl Tasks {
    /// Spawns a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let defect = self.defect.clone();
        tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                defect.cancel();
                resume_unwind(panic);
            }
        })
    }

    /// Resolves when a task has panicked.
    pub async fn defect(&self) {
        self.defect.cancelled().await;
    }

    /// Whether no task has panicked.
    pub fn are_well(&self) -> bool {
        !self.defect.is_cancelled()
    }
}

/// The committer of a store, which ends when its queue is closed.
pub struct RunningCommitter(Mutex<Option<JoinHandle<()>>>);

impl RunningCommitter {
    /// The committer with this task.
    pub fn new(task: JoinHandle<()>) -> Self {
        Self(Mutex::new(Some(task)))
    }

    /// Waits until the task has ended. Cancelled, it can be called again: the handle is removed only after the end.
    pub async fn ended(&self) {
        let mut task = self.0.lock().await;
        if let Some(running) = task.as_mut() {
            if let Err(cause) = running.await {
                tracing::error!(%cause, "the committer did not end cleanly");
            }
            *task = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_or_is_aborted_is_no_defect_and_one_that_panics_is() {
        let tasks = Tasks::default();
        let mut defect = Box::pin(tasks.defect());
        tasks.spawn(async {}).await.unwrap();
        let endless = tasks.spawn(std::future::pending());
        endless.abort();
        assert!(endless.await.unwrap_err().is_cancelled());
        assert!(poll!(&mut defect).is_pending() && tasks.are_well());
        assert!(tasks.spawn(async { panic!("a defect") }).await.is_err());
        assert!(poll!(&mut defect).is_ready() && !tasks.are_well());
    }
}
