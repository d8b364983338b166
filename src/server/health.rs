//! Health reports: gRPC health follows the readiness of the store, and systemd gets notifications and the watchdog signal.

use std::pin::pin;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::domain::Error;
use crate::pb::event_service_server::SERVICE_NAME as EVENT_SERVICE;
use crate::pb::key_service_server::SERVICE_NAME as KEY_SERVICE;
use crate::pb::run_service_server::SERVICE_NAME as RUN_SERVICE;
use crate::service::Service;
use crate::telemetry;

/// Interval between readiness checks of the store, and timeout of one check.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Consecutive timeouts after which the server is unready.
const MAX_LATE_LOOKS: u32 = 3;

/// Service names of gRPC health: the empty name for the whole server, and each service.
const HEALTH_OF: [&str; 4] = ["", EVENT_SERVICE, KEY_SERVICE, RUN_SERVICE];

pub async fn set(health: &HealthReporter, status: ServingStatus) {
    for service in HEALTH_OF {
        health.set_service_status(service, status).await;
    }
}

/// Notifies systemd, if `NOTIFY_SOCKET` is set by a unit of type `notify`.
pub fn notify(state: NotifyState<'_>) {
    if let Err(cause) = sd_notify::notify(&[state]) {
        tracing::debug!(%cause, "systemd could not be notified");
    }
}

/// Sends the watchdog signal of systemd every second, independent of the store: a restart would not repair the store.
pub async fn get_on() {
    let mut ticks = tokio::time::interval(HEALTH_INTERVAL);
    loop {
        ticks.tick().await;
        notify(NotifyState::Watchdog);
    }
}

/// Sets gRPC health and the metric `runlog_ready` from the readiness of the store. Returns when a task of the store has ended
/// by a defect. After a loss of the data the future stays pending, with the server unready.
pub async fn follow_store(health: &HealthReporter, service: &Service) {
    let mut looks = tokio::time::interval(HEALTH_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lost = pin!(service.store_lost());
    let (mut was_ready, mut late) = (true, 0);
    telemetry::READY.set(1);
    loop {
        tokio::select! {
            error = &mut lost => {
                telemetry::READY.set(0);
                set(health, ServingStatus::NotServing).await;
                if matches!(error, Error::StoreLost { .. }) {
                    // The server stays up, so that operators can read its errors, health and log.
                    std::future::pending::<()>().await;
                }
                return;
            }
            _ = looks.tick() => {
                let problem = match tokio::time::timeout(HEALTH_TIMEOUT, service.ready()).await {
                    Ok(ready) => {
                        late = 0;
                        ready.err()
                    }
                    Err(_) => {
                        late += 1;
                        // Many concurrent readers can delay a check, too.
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
                telemetry::READY.set(u64::from(was_ready));
                let status = if was_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
                set(health, status).await;
            }
        }
    }
}

/// Ends the `Watch` streams of gRPC health after the last status, which `Check` still answers.
pub async fn forget(mut health: HealthReporter) {
    for service in HEALTH_OF {
        health.clear_service_status(service).await;
        health.set_service_status(service, ServingStatus::NotServing).await;
    }
}
