//! A TCP proxy between replicas and PostgreSQL that does what networks do.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Each piece comes late.
    Slow,
    /// Nothing comes through, and nobody is told.
    Stall,
}

/// What becomes of the connections that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// Both sides are closed.
    Cut,
    /// What the replica sends ends; what the server sends goes on.
    CloseToServer,
    /// What the server sends ends; what the replica sends goes on.
    CloseToReplica,
}

/// What becomes of the next COMMIT. Its connection is lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtCommit {
    Nothing,
    /// The server gets it, the replica no answer.
    LoseAnswer,
    /// The server does not even get it.
    LoseCommit,
}

pub struct Proxy {
    pub port: u16,
    at_commit: watch::Sender<AtCommit>,
    mode: watch::Sender<Mode>,
    harm: broadcast::Sender<Harm>,
}

impl Proxy {
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, (harm, _)) = (watch::Sender::new(Mode::Pass), broadcast::channel(16));
        let at_commit = watch::Sender::new(AtCommit::Nothing);
        let (modes, harms, commits) = (mode.clone(), harm.clone(), at_commit.clone());
        tokio::spawn(async move {
            while let Ok((replica, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
                let cut = CancellationToken::new();
                let (from_replica, to_replica) = replica.into_split();
                let (from_server, to_server) = server.into_split();
                let lines =
                    [(from_replica, to_server, Harm::CloseToServer), (from_server, to_replica, Harm::CloseToReplica)];
                for (from, to, end) in lines {
                    let line = Line { end, mode: modes.subscribe(), at_commit: commits.clone(), cut: cut.clone() };
                    tokio::spawn(carry(from, to, line, harms.subscribe()));
                }
            }
        });
        Self { port, at_commit, mode, harm }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Lies in wait for the next COMMIT.
    pub fn at_commit(&self, loss: AtCommit) {
        self.at_commit.send_replace(loss);
    }

    pub fn harm(&self, harm: Harm) {
        // Nobody may be connected.
        let _ = self.harm.send(harm);
    }
}

/// One direction of a connection.
struct Line {
    /// The harm that ends it.
    end: Harm,
    mode: watch::Receiver<Mode>,
    at_commit: watch::Sender<AtCommit>,
    /// Ends what the server sends.
    cut: CancellationToken,
}

impl Line {
    /// What to do with this piece; a loss is done once.
    fn loss(&self, piece: &[u8]) -> AtCommit {
        if self.end != Harm::CloseToServer || !piece.windows(6).any(|word| word == b"COMMIT") {
            return AtCommit::Nothing;
        }
        self.at_commit.send_replace(AtCommit::Nothing)
    }

    async fn carry(&mut self, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> std::io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        while let read @ 1.. = from.read(&mut buffer).await? {
            if *self.mode.borrow() == Mode::Slow {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if self.mode.wait_for(|mode| *mode != Mode::Stall).await.is_err() {
                break;
            }
            let loss = self.loss(&buffer[..read]);
            if loss != AtCommit::Nothing {
                self.cut.cancel();
            }
            if loss != AtCommit::LoseCommit {
                to.write_all(&buffer[..read]).await?;
            }
            if loss != AtCommit::Nothing {
                break;
            }
        }
        Ok(())
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: Line, mut harm: broadcast::Receiver<Harm>) {
    let (end, cut) = (line.end, line.cut.clone());
    let harmed = async {
        loop {
            match harm.recv().await {
                Ok(Harm::Cut) => return,
                Ok(harm) if harm == end => return,
                Ok(_) => {}
                Err(_) => std::future::pending().await,
            }
        }
    };
    tokio::select! {
        _ = line.carry(&mut from, &mut to) => {}
        () = cut.cancelled(), if end == Harm::CloseToReplica => {}
        () = harmed => {}
    }
    // Dropping this half sends the end; the other direction lives on until it ends by itself.
    let _ = to.shutdown().await;
}
