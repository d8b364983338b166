//! LISTEN for the commit notifications of other replicas. Reports every gap during which notifications may have been
//! missed.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::store::ProjectNumber;
use crate::store::postgres::connect::session::NotifyIdentity;
use crate::store::postgres::positions::Positions;
use crate::store::project::position_of;

/// Pause between two connections.
const PAUSE: Duration = Duration::from_millis(200);

/// Begin of the sender's name in the notification of a removal. Programs of version 8 take it for a commit.
const REMOVAL: &str = "removal ";

/// Text of the notification of a removal in a feed that ends at this stored position.
pub fn of_removal(names: &NotifyIdentity, end: u64) -> String {
    format!("{REMOVAL}{}:{end}", names.announcer)
}

/// Latest hints about unread commits.
#[derive(Debug, Default)]
pub struct FeedSignal {
    /// Highest positions named by notifications or by own commits since the follower has taken them.
    pub ends: Positions,
    /// Number of gaps during which notifications may have been lost.
    pub missed: u64,
}

/// Listens until `stop` is cancelled.
pub async fn listen(
    connect: PgConnectOptions,
    names: NotifyIdentity,
    connect_timeout: Duration,
    signal: watch::Sender<FeedSignal>,
    stop: CancellationToken,
) {
    loop {
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            ended = listen_once(connect.clone(), &names, connect_timeout, &signal) => ended,
        };
        signal.send_modify(|signal| signal.missed += 1);
        if let Err(error) = ended {
            tracing::warn!(%error, "listening for commits of other replicas broke off; it begins again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Listens on a new connection until the connection fails; a reused connection may be dead unnoticed.
async fn listen_once(
    connect: PgConnectOptions,
    names: &NotifyIdentity,
    connect_timeout: Duration,
    signal: &watch::Sender<FeedSignal>,
) -> Result<(), sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(connect_timeout)
        .connect_lazy_with(connect);
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen_all([names.channel.as_str(), names.of_projects.as_str()]).await?;
    // Notifications sent before LISTEN were not received.
    signal.send_modify(|signal| signal.missed += 1);
    while let Some(notification) = listener.try_recv().await? {
        let Some((announcer, position)) = notification.payload().rsplit_once(':') else { continue };
        let Ok(pos) = position.parse::<u64>() else { continue };
        if announcer.starts_with(REMOVAL) {
            // A poll reads the numbers of removals.
            signal.send_modify(|signal| signal.missed += 1);
        } else if announcer != names.announcer {
            signal.send_modify(|signal| signal.ends.raise(ProjectNumber::of_pos(pos), position_of(pos)));
        }
    }
    Ok(())
}
