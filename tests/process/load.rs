//! All kinds of publishers at once, against a series of servers on the same data.

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::harness::{Server, within};
use crate::publishers::{Publisher, Way};

/// The publishers between two servers.
pub struct Load(Vec<Publisher>);

/// Number of events acknowledged since the start of the server.
pub type Acked = watch::Receiver<u64>;

impl Load {
    pub fn new() -> Self {
        Self(vec![
            Publisher::new("unary-a", Way::Unary, 3),
            Publisher::new("unary-b", Way::Unary, 1),
            Publisher::new("batch-a", Way::Batches, 2),
            Publisher::new("batch-b", Way::Batches, 20),
            Publisher::new("stream-a", Way::Stream, 1),
            // Hundreds of interleaved runs: each event is a log entry of its own, so flushes are frequent.
            Publisher::new("stream-b", Way::Stream, 400),
            Publisher::new("stream-c", Way::Stream, 400),
        ])
    }

    /// Compares the server with the sent and acknowledged events. Runs that were complete are compared again only with
    /// `everything`.
    pub async fn verify(&mut self, server: &Server, everything: bool) {
        let (mut events, mut runs) = (server.events().await, server.runs().await);
        for run in self.0.iter_mut().flat_map(|publisher| &mut publisher.runs) {
            if everything || run.verified < run.sent.len() {
                run.verify(&mut events, &mut runs, everything).await;
            }
        }
    }

    /// Publishes until `end` has ended the server.
    pub async fn publish(&mut self, server: Server, end: impl AsyncFnOnce(Server, Acked)) {
        let (acks, acked) = watch::channel(0);
        let mut working = JoinSet::new();
        for publisher in self.0.drain(..) {
            working.spawn(publisher.publish(server.events().await, acks.clone()));
        }
        end(server, acked).await;
        self.0 = within("the end of the publishers", working.join_all()).await;
    }

    /// Runs, and the number of their acknowledged events.
    pub fn acked(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().flat_map(|publisher| &publisher.runs).map(|run| (run.id.as_str(), run.acked))
    }

    /// Number of sent events.
    pub fn sent(&self) -> usize {
        self.0.iter().flat_map(|publisher| &publisher.runs).map(|run| run.sent.len()).sum()
    }
}

/// Kills the server with SIGKILL after this number of acknowledged events.
pub async fn kill_after(moment: u64, server: Server, mut acked: Acked) {
    within("that many acknowledgements", acked.wait_for(|acked| *acked >= moment)).await.unwrap();
    server.kill().await;
}
