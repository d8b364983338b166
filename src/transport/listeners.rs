//! The sockets of one server, one for each address that it listens on.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use tokio::net::{TcpListener, TcpStream};

/// Sockets that are accepted from in turn.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<TcpListener>,
    /// The socket that is asked first.
    next: usize,
}

impl Listeners {
    /// Accepts from all of these sockets.
    #[must_use]
    pub fn new(sockets: Vec<TcpListener>) -> Self {
        Self { sockets, next: 0 }
    }

    /// The next connection of any of the sockets.
    ///
    /// # Errors
    /// That of the operating system.
    pub async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| {
            for _ in 0..self.sockets.len() {
                let socket = &self.sockets[self.next];
                self.next = (self.next + 1) % self.sockets.len();
                if let Poll::Ready(accepted) = socket.poll_accept(cx) {
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_of_all_sockets_are_accepted_also_if_one_has_always_more() {
        let (busy, other) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let addresses = [&busy, &other].map(|socket| socket.local_addr().unwrap());
        let mut clients = Vec::new();
        for address in [addresses[0], addresses[0], addresses[0], addresses[1]] {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let mut listeners = Listeners::new(vec![busy, other]);
        let mut accepted = Vec::new();
        for _ in 0..2 {
            accepted.push(listeners.accept().await.unwrap().0.local_addr().unwrap());
        }
        assert_eq!(accepted, addresses);
        for _ in 0..2 {
            assert_eq!(listeners.accept().await.unwrap().0.local_addr().unwrap(), addresses[0]);
        }
    }
}
