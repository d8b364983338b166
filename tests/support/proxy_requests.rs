//! The messages from a replica through the proxy:
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use std::collections::HashSet;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;

use super::{AtCommit, Harm, Shared, Trap};

/// The messages of a replica on one connection.
pub struct Requests {
    shared: Shared,
    /// Ends the direction from the server to the replica.
    cut: CancellationToken,
    /// Bytes read and not forwarded yet.
    rest: Vec<u8>,
    /// Whether a session is open: earlier messages have no type.
    is_open: bool,
    in_transaction: bool,
    /// Names of the prepared statements that append events.
    appends: HashSet<Vec<u8>>,
}

impl Requests {
    pub fn new(shared: Shared, cut: CancellationToken) -> Self {
        let (rest, appends) = Default::default();
        Self { shared, cut, rest, is_open: false, in_transaction: false, appends }
    }

    pub async fn carry(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let harmed = Shared::harmed(self.shared.harm.subscribe(), Harm::CloseToServer);
        tokio::select! {
            () = harmed => {}
            () = self.carry_all(&mut from, &mut to) => {}
        }
        let _ = to.shutdown().await;
    }

    async fn carry_all(&mut self, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) {
        while let Some(message) = self.read(from).await {
            if !self.shared.pass().await {
                return;
            }
            let is_trap = self.commits(&message);
            let trap = is_trap.then(|| self.shared.trap.send_replace((AtCommit::Nothing, None)));
            match trap {
                Some((loss, mode)) if loss != AtCommit::Nothing => {
                    return self.lose(message, (loss, mode), from, to).await;
                }
                _ => {}
            }
            if to.write_all(&message).await.is_err() {
                return;
            }
        }
    }

    /// Applies the fault to a commit that begins with this message.
    async fn lose(&mut self, message: Vec<u8>, trap: Trap, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) {
        let (loss, mode) = trap;
        let is_statement = message[0] == b'B';
        let mut all = message;
        // The messages after the parameters execute and end a statement.
        while is_statement && let Some(next) = self.read(from).await {
            all.extend_from_slice(&next);
            if next[0] == b'S' {
                break;
            }
        }
        let mut delivery = self.shared.delivery.subscribe();
        if let Some(mode) = mode {
            self.shared.mode.send_replace(mode);
        }
        self.cut.cancel();
        self.shared.has_snapped.send_replace(true);
        if loss == AtCommit::Delay {
            let _ = delivery.changed().await;
        }
        if loss != AtCommit::LoseCommit {
            let _ = to.write_all(&all).await;
        }
    }

    /// The next message; `None` at the end.
    async fn read(&mut self, from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            if let Some(message) = self.next() {
                return Some(message);
            }
            let read = from.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
            self.rest.extend_from_slice(&buffer[..read]);
        }
    }

    /// The next complete message in the buffer.
    fn next(&mut self) -> Option<Vec<u8>> {
        let before = usize::from(self.is_open);
        let length = self.rest.get(before..before + 4)?;
        let length = before + u32::from_be_bytes(length.try_into().unwrap()) as usize;
        if self.rest.len() < length {
            return None;
        }
        let after = self.rest.split_off(length);
        let message = std::mem::replace(&mut self.rest, after);
        // Protocol 3; other codes request encryption, or cancel another session.
        self.is_open |= before == 0 && message.get(4..6) == Some(&[0, 3]);
        Some(message)
    }

    /// Whether this message makes the server commit.
    fn commits(&mut self, message: &[u8]) -> bool {
        let (kind, body) = (message[0], message.get(5..).unwrap_or_default());
        let mut texts = body.split(|byte| *byte == 0);
        match kind {
            b'Q' if body.starts_with(b"BEGIN") => self.in_transaction = true,
            b'Q' if body.starts_with(b"COMMIT") || body.starts_with(b"ROLLBACK") => self.in_transaction = false,
            b'P' => {
                let name = texts.next().unwrap_or_default().to_owned();
                if texts.next().unwrap_or_default().windows(13).any(|word| word == b"append_events") {
                    self.appends.insert(name);
                }
            }
            b'B' => {
                let name = texts.nth(1).unwrap_or_default();
                return !self.in_transaction && self.appends.contains(name);
            }
            _ => {}
        }
        kind == b'Q' && body.starts_with(b"COMMIT")
    }
}
