//! A TCP proxy between replicas and PostgreSQL that does what networks do.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};

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

pub struct Proxy {
    pub port: u16,
    mode: watch::Sender<Mode>,
    harm: broadcast::Sender<Harm>,
}

impl Proxy {
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, (harm, _)) = (watch::Sender::new(Mode::Pass), broadcast::channel(16));
        let (modes, harms) = (mode.clone(), harm.clone());
        tokio::spawn(async move {
            while let Ok((replica, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
                let cut = Arc::new(tokio::sync::Notify::new());
                let (from_replica, to_replica) = replica.into_split();
                let (from_server, to_server) = server.into_split();
                let lines =
                    [(from_replica, to_server, Harm::CloseToServer), (from_server, to_replica, Harm::CloseToReplica)];
                for (from, to, end) in lines {
                    tokio::spawn(carry(from, to, end, modes.subscribe(), harms.subscribe(), cut.clone()));
                }
            }
        });
        Self { port, mode, harm }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub fn harm(&self, harm: Harm) {
        // Nobody may be connected.
        let _ = self.harm.send(harm);
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    end: Harm,
    mut mode: watch::Receiver<Mode>,
    mut harm: broadcast::Receiver<Harm>,
    cut: Arc<tokio::sync::Notify>,
) {
    let mut buffer = vec![0; 16 << 10];
    let carrying = async {
        loop {
            let Ok(read @ 1..) = from.read(&mut buffer).await else { break };
            if *mode.borrow() == Mode::Slow {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if mode.wait_for(|mode| *mode != Mode::Stall).await.is_err() || to.write_all(&buffer[..read]).await.is_err()
            {
                break;
            }
        }
    };
    tokio::select! {
        () = carrying => {}
        () = cut.notified() => {}
        () = async {
            loop {
                match harm.recv().await {
                    Ok(Harm::Cut) => return,
                    Ok(harm) if harm == end => return,
                    Ok(_) => {}
                    Err(_) => std::future::pending().await,
                }
            }
        } => {}
    }
    // Dropping this half sends the end; the other direction lives on until it ends by itself.
    let _ = to.shutdown().await;
}
