//! What the server says of itself: gRPC health follows readiness, and systemd hears that the process gets on.

use std::pin::pin;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::{EVENT_SERVICE, RUN_SERVICE};
use crate::domain::Error;
use crate::service::Service;

/// How often health looks whether the store is ready, and how long it waits for the answer.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
const HEALTH_PATIENCE: Duration = Duration::from_secs(2);

/// So many looks in a row that are not answered in time make the server unready.
const MAX_LATE_LOOKS: u32 = 3;

/// The names that health answers to: the server as a whole, and each service.
const HEALTH_OF: [&str; 3] = ["", EVENT_SERVICE, RUN_SERVICE];

pub async fn set(health: &HealthReporter, status: ServingStatus) {
    for service in HEALTH_OF {
        health.set_service_status(service, status).await;
    }
}

/// Says it to systemd, where that has started the process and asked for it.
pub fn notify(state: NotifyState<'_>) {
    if let Err(cause) = sd_notify::notify(&[state]) {
        tracing::debug!(%cause, "systemd could not be notified");
    }
}

/// Tells systemd every second that the process gets on, whatever its store does: what the store lacks a restart does not give it.
pub async fn get_on() {
    let mut ticks = tokio::time::interval(HEALTH_INTERVAL);
    loop {
        ticks.tick().await;
        notify(NotifyState::Watchdog);
    }
}

/// Makes health say what readiness says. Returns when nothing can ever be stored again by this process.
pub async fn follow_store(health: &HealthReporter, service: &Service) {
    let mut looks = tokio::time::interval(HEALTH_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lost = pin!(service.store_lost());
    let (mut was_ready, mut late) = (true, 0);
    metrics::gauge!("runlog_ready").set(1.0);
    loop {
        tokio::select! {
            error = &mut lost => {
                metrics::gauge!("runlog_ready").set(0.0);
                set(health, ServingStatus::NotServing).await;
                if matches!(error, Error::StoreLost { .. }) {
                    // Whoever looks after the files finds the server, and what it has to say.
                    std::future::pending::<()>().await;
                }
                return;
            }
            _ = looks.tick() => {
                let problem = match tokio::time::timeout(HEALTH_PATIENCE, service.ready()).await {
                    Ok(ready) => {
                        late = 0;
                        ready.err()
                    }
                    Err(_) => {
                        late += 1;
                        // Many readers at once keep a look waiting too.
                        if was_ready && late < MAX_LATE_LOOKS {
                            continue;
                        }
                        Some(Error::StoreUnavailable)
                    }
                };
                match &problem {
                    Some(error) if was_ready => tracing::warn!(reason = error.reason(), %error, "not ready"),
                    None if !was_ready => tracing::info!("ready again"),
                    _ => continue,
                }
                was_ready = problem.is_none();
                metrics::gauge!("runlog_ready").set(if was_ready { 1.0 } else { 0.0 });
                let status = if was_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
                set(health, status).await;
            }
        }
    }
}

/// Ends the watches, behind the last status that they got.
pub async fn forget(mut health: HealthReporter) {
    for service in HEALTH_OF {
        health.clear_service_status(service).await;
    }
}
