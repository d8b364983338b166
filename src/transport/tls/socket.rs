//! The socket below a connection, with or without TLS.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::{FallibleAccept, TlsStream};

use super::certificates::Certificates;

/// Encrypted bytes that a connection holds until the socket takes them: one TLS record.
const BUFFER_BYTES: usize = 16 << 10;

/// Longest wait for the peer's end after a failed handshake. Closing a socket with unread bytes resets the connection, and
/// after a reset the peer loses the alert that gives the reason.
const LINGER: Duration = Duration::from_secs(1);

/// A socket whose TLS handshake, if any, is driven by the reads and writes of the connection's own task.
pub enum Socket {
    /// Cleartext.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<TlsSocket>),
}

/// A socket with TLS.
pub struct TlsSocket {
    state: State,
    certificates: Arc<Certificates>,
}

enum State {
    Handshake(FallibleAccept<CountedSocket>),
    Open(TlsStream<CountedSocket>),
    /// The handshake failed; received bytes are discarded until the peer's end or the deadline.
    Refused {
        socket: CountedSocket,
        error: Option<io::Error>,
        until: Pin<Box<Sleep>>,
    },
}

impl Socket {
    /// The accepted socket; with certificates, a TLS handshake comes first.
    pub fn new(socket: TcpStream, certificates: Option<&Arc<Certificates>>) -> Self {
        let Some(certificates) = certificates else { return Self::Plain(socket) };
        let socket = CountedSocket { socket, sent: 0 };
        let handshake = certificates.acceptor().accept_with(socket, |session| {
            session.set_buffer_limit(Some(BUFFER_BYTES));
        });
        let state = State::Handshake(handshake.into_fallible());
        Self::Tls(Box::new(TlsSocket { state, certificates: Arc::clone(certificates) }))
    }

    /// Encrypted bytes that the socket has taken, by which a slow peer differs from a silent one; 0 without TLS.
    pub fn sent(&self) -> u64 {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(tls) => match &tls.state {
                State::Open(stream) => stream.get_ref().0.sent,
                State::Handshake(_) | State::Refused { .. } => 0,
            },
        }
    }

    /// Counts the handshake as failed, if it is not over at the deadline of a new connection.
    pub fn timed_out(&self) {
        if let Self::Tls(tls) = self
            && matches!(tls.state, State::Handshake(_))
        {
            tls.certificates.failed(&io::ErrorKind::TimedOut.into());
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Socket::Plain",
            Self::Tls(_) => "Socket::Tls",
        })
    }
}

impl TlsSocket {
    /// The stream after the handshake, or the reason why there is none.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut TlsStream<CountedSocket>>>> {
        if let State::Handshake(handshake) = &mut self.state {
            self.state = match ready!(Pin::new(handshake).poll(cx)) {
                Ok(stream) => State::Open(stream),
                Err((error, mut socket)) => {
                    self.certificates.failed(&error);
                    // The alert is sent. A peer that is gone already has no use for the end.
                    let _ = Pin::new(&mut socket).poll_shutdown(cx);
                    State::Refused { socket, error: Some(error), until: Box::pin(tokio::time::sleep(LINGER)) }
                }
            };
        }
        match &mut self.state {
            State::Open(stream) => Poll::Ready(Ok(Pin::new(stream))),
            State::Refused { socket, error, until } => {
                while until.as_mut().poll(cx).is_pending() {
                    let mut dropped = [0; 1_024];
                    let mut dropped = ReadBuf::new(&mut dropped);
                    let read = ready!(Pin::new(&mut *socket).poll_read(cx, &mut dropped));
                    if read.is_err() || dropped.filled().is_empty() {
                        break;
                    }
                }
                Poll::Ready(Err(error.take().unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into())))
            }
            State::Handshake(_) => unreachable!("the handshake is over"),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(tls) => ready!(tls.poll_open(cx))?.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(tls) => ready!(tls.poll_open(cx))?.poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => ready!(tls.poll_open(cx))?.poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(tls) => match &mut tls.state {
                State::Open(stream) => Pin::new(stream).poll_flush(cx),
                State::Handshake(_) | State::Refused { .. } => Poll::Ready(Ok(())),
            },
        }
    }

    /// Ends the write side. With TLS `close_notify` comes first, by which the peer knows that nothing was cut off.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => match &mut tls.state {
                State::Open(stream) => Pin::new(stream).poll_shutdown(cx),
                State::Handshake(_) | State::Refused { .. } => Poll::Ready(Ok(())),
            },
        }
    }
}

/// A socket that counts what it has sent.
struct CountedSocket {
    socket: TcpStream,
    sent: u64,
}

impl CountedSocket {
    fn counted(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.sent += *bytes as u64;
        }
        written
    }
}

impl AsyncRead for CountedSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for CountedSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.counted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.counted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
