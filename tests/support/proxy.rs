//! A TCP proxy in front of PostgreSQL that simulates network faults. The proxy parses only as much of the protocol as
//! needed to find the message that commits.

#![allow(dead_code, reason = "each test program uses a part of it")]

#[path = "proxy_requests.rs"]
mod requests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use requests::Requests;

/// Treatment of the forwarded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Each chunk is delayed.
    Slow,
    /// No bytes are forwarded; the connections stay open.
    Stall,
    /// New connections are closed.
    Refuse,
}

/// A fault of the open connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// Both directions are closed.
    Cut,
    /// The direction from the replica to the server is closed; the other stays open.
    CloseToServer,
    /// The direction from the server to the replica is closed; the other stays open.
    CloseToReplica,
}

/// A fault of the next commit: of a COMMIT, or of a statement that is a whole transaction. The replica's connection
/// breaks too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtCommit {
    Nothing,
    /// The server receives the commit; the answer is lost.
    LoseAnswer,
    /// The commit is lost before the server.
    LoseCommit,
    /// The server receives the commit at [`Proxy::deliver`].
    Delay,
}

/// The fault of the next commit, and the mode afterwards.
type Trap = (AtCommit, Option<Mode>);

pub struct Proxy {
    pub port: u16,
    shared: Shared,
    accepted: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Shared {
    trap: watch::Sender<Trap>,
    has_snapped: watch::Sender<bool>,
    mode: watch::Sender<Mode>,
    harm: broadcast::Sender<Harm>,
    delivery: watch::Sender<usize>,
}

impl Proxy {
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared {
            trap: watch::Sender::new((AtCommit::Nothing, None)),
            has_snapped: watch::Sender::new(false),
            mode: watch::Sender::new(Mode::Pass),
            harm: broadcast::channel(16).0,
            delivery: watch::Sender::new(0),
        };
        let (own, accepted) = (shared.clone(), Arc::<AtomicUsize>::default());
        let counted = accepted.clone();
        tokio::spawn(async move {
            while let Ok((replica, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                if *own.mode.borrow() == Mode::Refuse {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
                // Messages are forwarded one by one, without waiting for an answer in between.
                replica.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let cut = CancellationToken::new();
                let (from_replica, to_replica) = replica.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(Requests::new(own.clone(), cut.clone()).carry(from_replica, to_server));
                tokio::spawn(carry_answers(own.clone(), cut, from_server, to_replica));
            }
        });
        Self { port, shared, accepted }
    }

    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Sets the fault of the next commit.
    pub fn at_commit(&self, loss: AtCommit) {
        self.set_trap((loss, None));
    }

    /// Sets the fault of the next commit, and the mode from then on.
    pub fn at_commit_then(&self, loss: AtCommit, mode: Mode) {
        self.set_trap((loss, Some(mode)));
    }

    fn set_trap(&self, trap: Trap) {
        self.shared.has_snapped.send_replace(false);
        self.shared.trap.send_replace(trap);
    }

    /// Waits until a commit was lost.
    pub async fn lost(&self) {
        self.shared.has_snapped.subscribe().wait_for(|has_snapped| *has_snapped).await.unwrap();
    }

    /// Forwards all delayed commits.
    pub fn deliver(&self) {
        self.shared.delivery.send_modify(|deliveries| *deliveries += 1);
    }

    pub fn harm(&self, harm: Harm) {
        // Fails only without connections.
        let _ = self.shared.harm.send(harm);
    }

    /// Number of connections that replicas have opened or tried to open.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// Delays a chunk according to the mode. False: the chunk is never forwarded.
    async fn pass(&self) -> bool {
        let mut mode = self.mode.subscribe();
        if *mode.borrow() == Mode::Slow {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        mode.wait_for(|mode| *mode != Mode::Stall).await.is_ok()
    }

    /// Returns when the direction is closed by a fault.
    async fn harmed(mut harm: broadcast::Receiver<Harm>, end: Harm) {
        loop {
            match harm.recv().await {
                Ok(Harm::Cut) => return,
                Ok(harm) if harm == end => return,
                Ok(_) => {}
                Err(_) => std::future::pending().await,
            }
        }
    }
}

async fn carry_answers(shared: Shared, cut: CancellationToken, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let harmed = Shared::harmed(shared.harm.subscribe(), Harm::CloseToReplica);
    let carry = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            if !shared.pass().await || to.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        biased;
        () = cut.cancelled() => {}
        () = harmed => {}
        () = carry => {}
    }
    // Dropping this half shuts the direction down; the other direction lives on until its own end.
    let _ = to.shutdown().await;
}
