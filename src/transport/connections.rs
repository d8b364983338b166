//! Accepts connections up to a limit. Further connections wait in the listen queue of the kernel.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{Stream, unfold};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::coalescing::Coalescing;
use super::control_frames::ControlFrames;
use super::listeners::Listeners;
use super::memory::{Account, Memory};
pub use super::places::MaxConnections;
use super::places::{Place, Places, client_address};
use super::tls::{Certificates, Socket};
use crate::telemetry;

/// Pause after a failed accept, for example without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Longest wait for the peer's end of a connection after the shutdown by this side.
const LINGER: Duration = Duration::from_secs(1);

/// Longest time until a new connection shows HTTP/1 or HTTP/2, the TLS handshake included.
const MAX_SILENCE: Duration = Duration::from_secs(30);

/// Limit of unsent bytes in the send buffer of the kernel (`TCP_NOTSENT_LOWAT`).
const UNSENT_BYTES: u32 = 128 << 10;

/// Connection preface of HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An accepted connection. Holds a place within [`MaxConnections`] until dropped.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    account: Arc<Account>,
    /// Set after the shutdown by this side, which discards what still comes.
    linger: Option<Pin<Box<Sleep>>>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Deadline until the protocol is known: neither HTTP/1 nor HTTP/2 has a timeout before that.
    silence: Option<Silence>,
    /// Present for HTTP/2 only.
    frames: Option<ControlFrames>,
    coalescing: Coalescing,
    /// Deadline of a write that the socket does not take, since the peer reads nothing.
    blocked: Option<Pin<Box<Sleep>>>,
    /// What the socket had sent when `blocked` was set.
    sent: u64,
    max_silence: Duration,
    _place: Place,
}

/// Detection of HTTP/1 or HTTP/2 on a new connection, with a deadline.
#[derive(Debug)]
struct Silence {
    until: Pin<Box<Sleep>>,
    /// Bytes of the preface received so far.
    preface: usize,
    /// Bytes of the last read after the preface.
    behind: usize,
}

impl Silence {
    fn new() -> Self {
        Self { until: Box::pin(tokio::time::sleep(MAX_SILENCE)), preface: 0, behind: 0 }
    }

    /// Takes received bytes. Returns whether the protocol is known now.
    fn is_over(&mut self, read: &[u8]) -> bool {
        let rest = &PREFACE[self.preface..];
        let matching = read.iter().zip(rest).take_while(|(read, expected)| read == expected).count();
        self.preface += matching;
        self.behind = read.len() - matching;
        matching < read.len() || self.preface == PREFACE.len()
    }

    /// Bytes of the last read after the preface; `None` if the protocol is not HTTP/2.
    fn frames_of<'a>(&self, read: &'a [u8]) -> Option<&'a [u8]> {
        (self.preface == PREFACE.len()).then(|| &read[read.len() - self.behind..])
    }
}

/// Accepts the connections of the listeners, with TLS if there are certificates. `cut` breaks off all connections, even if the
/// peer does not read.
pub fn accept(
    listeners: Listeners,
    max: MaxConnections,
    memory: Arc<Memory>,
    cut: CancellationToken,
    certificates: Option<Arc<Certificates>>,
) -> impl Stream<Item = io::Result<Connection>> {
    let places = Places::new(max);
    let state = (listeners, places, memory, cut, certificates);
    unfold(state, |(mut listeners, mut places, memory, cut, certificates)| async move {
        loop {
            let of_all = Arc::clone(&places.of_all).acquire_owned().await.ok()?;
            match listeners.accept().await {
                Ok((socket, peer)) => {
                    let address = client_address(peer.ip());
                    if certificates.is_some() && !places.may_begin_handshake(address) {
                        continue;
                    }
                    let Some(place) = places.take(of_all, address) else { continue };
                    // Clients wait for small answers: no delay by Nagle's algorithm.
                    let _ = socket.set_nodelay(true);
                    bound_send_buffer(&socket);
                    let account = memory.account(peer.ip(), cut.child_token());
                    let until = Box::pin(account.cut().clone().cancelled_owned());
                    let silence = Some(Silence::new());
                    let connection = Connection {
                        socket: Socket::new(socket, certificates.as_ref()),
                        account,
                        linger: None,
                        cut: until,
                        silence,
                        frames: None,
                        coalescing: Coalescing::default(),
                        blocked: None,
                        sent: 0,
                        max_silence: memory.max_silence(),
                        _place: place,
                    };
                    return Some((Ok(connection), (listeners, places, memory, cut, certificates)));
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

/// Limits unsent bytes in the kernel. Bytes in flight are limited by the peer's window.
#[cfg(target_os = "linux")]
fn bound_send_buffer(socket: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES) {
        tracing::debug!(%error, "the send buffer of a connection is not bounded");
    }
}

/// `TCP_NOTSENT_LOWAT` is set on Linux only.
#[cfg(not(target_os = "linux"))]
fn bound_send_buffer(_socket: &TcpStream) {}

impl Connection {
    /// Whether a write waits for the other calls of the connection.
    fn puts_off(&mut self, cx: &Context<'_>, bytes: usize) -> bool {
        let account = &self.account;
        self.coalescing.puts_off(cx, bytes, || account.has_several_calls())
    }

    /// Counts written bytes.
    fn wrote(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.coalescing.written();
            self.frames.iter_mut().for_each(|frames| frames.sent(*bytes));
        }
        self.in_time(cx, written)
    }

    /// Ends the connection of a peer that takes none of the sent bytes for too long: bytes that no answer counts, such as heads
    /// of HTTP/1 and the last record of TLS.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.blocked = None;
            return sent;
        }
        if self.sent != self.socket.sent() {
            (self.sent, self.blocked) = (self.socket.sent(), None);
        }
        let max_silence = self.max_silence;
        loop {
            let blocked = self.blocked.get_or_insert_with(|| Box::pin(tokio::time::sleep(max_silence)));
            ready!(blocked.as_mut().poll(cx));
            if self.account.silence().is_none() {
                break;
            }
            // The watch of the memory judges answers.
            self.blocked = None;
        }
        telemetry::CUT_CONNECTIONS.add_one(&[("reason", "no_progress")]);
        self.account.cut().cancel();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The socket, or an error after the cut. A task that waits for the socket is also woken by the cut.
    fn socket(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut Socket>> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(Pin::new(&mut self.socket)),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Account>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Arc::clone(&self.account)
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = self.socket(cx)?.poll_read(cx, buf);
        let this = &mut *self;
        let mut came = &buf.filled()[before..];
        if let Some(silence) = &mut this.silence {
            if read.is_ready() && silence.is_over(came) {
                // Frames received in one read with the end of the preface.
                if let Some(frames) = silence.frames_of(came) {
                    this.frames = Some(ControlFrames::new());
                    came = frames;
                }
                this.silence = None;
            } else if silence.until.as_mut().poll(cx).is_ready() {
                this.socket.timed_out();
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        if this.frames.as_mut().is_some_and(|frames| frames.are_too_many(came)) {
            telemetry::CUT_CONNECTIONS.add_one(&[("reason", "flood")]);
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.puts_off(cx, buf.len()) {
            return Poll::Pending;
        }
        let written = self.socket(cx)?.poll_write(cx, buf);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Of two parts the second is the payload of a frame, which no other frame joins before it is written.
        let mut parts = bufs.iter().map(|buf| buf.len()).filter(|bytes| *bytes > 0);
        if let (Some(bytes), None) = (parts.next(), parts.next())
            && self.puts_off(cx, bytes)
        {
            return Poll::Pending;
        }
        let written = self.socket(cx)?.poll_write_vectored(cx, bufs);
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Without TLS a flush is always over, and says nothing about a blocked write.
        match self.socket(cx)?.poll_flush(cx) {
            Poll::Pending => self.in_time(cx, Poll::Pending),
            flushed => flushed,
        }
    }

    /// Shuts down the write side, then discards received bytes until the peer's end or `LINGER`. Closing a socket with unread
    /// bytes resets the connection, and after a reset the peer loses answers not read yet.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            let ended = self.socket(cx)?.poll_shutdown(cx);
            ready!(self.in_time(cx, ended))?;
        }
        let linger = self.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut dropped = [0; 4_096];
            let mut dropped = ReadBuf::new(&mut dropped);
            let read = ready!(self.socket(cx)?.poll_read(cx, &mut dropped));
            if read.is_err() || dropped.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, poll};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::transport::memory::MemoryOptions;
    use crate::transport::tls::TlsFiles;

    fn memory() -> Arc<Memory> {
        let second = Duration::from_secs(1);
        Memory::new(MemoryOptions {
            receive_bytes: 1_024,
            send_bytes: 1_024,
            calls_bytes: 1_024,
            connections_at_least: 8,
            call_bytes: 1,
            connection_bytes: 1,
            max_silence: second,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_say_its_protocol_in_time_is_given_up_and_one_that_does_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let max = MaxConnections { of_all: 10, of_address: 10, handshakes_per_second: 0 };
        let mut connections =
            std::pin::pin!(accept(Listeners::new(vec![listener]), max, memory(), CancellationToken::new(), None));
        for (said, is_given_up) in
            [(&b""[..], true), (&PREFACE[..1], true), (&PREFACE[..23], true), (PREFACE, false), (b"G", false)]
        {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(said).await.unwrap();
            let mut connection = connections.next().await.unwrap().unwrap();
            let read = async {
                let mut buffer = [0; 64];
                while connection.read(&mut buffer).await? > 0 {}
                io::Result::Ok(())
            };
            match tokio::time::timeout(2 * MAX_SILENCE, read).await {
                Ok(ended) => assert!(is_given_up && ended.unwrap_err().kind() == io::ErrorKind::TimedOut, "{said:?}"),
                Err(_) => assert!(!is_given_up, "{said:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_write_waits_once_for_the_other_calls_of_its_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let max = MaxConnections { of_all: 10, of_address: 10, handshakes_per_second: 0 };
        let memory = memory();
        let accepted = accept(Listeners::new(vec![listener]), max, Arc::clone(&memory), CancellationToken::new(), None);
        let mut connection = std::pin::pin!(accepted).next().await.unwrap().unwrap();
        let _first = memory.call(&connection.account).unwrap();
        assert!(poll!(Box::pin(connection.write(b"alone"))).is_ready());
        let second = memory.call(&connection.account).unwrap();
        assert!(poll!(Box::pin(connection.write(b"one of two"))).is_pending());
        assert!(poll!(Box::pin(connection.write(b"both"))).is_ready());
        assert!(poll!(Box::pin(connection.write(&[0; 8 << 10]))).is_ready(), "it is large by itself");
        let frame = [io::IoSlice::new(b"head"), io::IoSlice::new(b"payload")];
        assert!(poll!(Box::pin(connection.write_vectored(&frame))).is_ready(), "no other frame may join it");
        assert!(poll!(Box::pin(connection.write_vectored(&frame[..1]))).is_pending());
        assert!(poll!(Box::pin(connection.write_vectored(&frame[..1]))).is_ready());
        let woken = tokio::time::timeout(Duration::from_secs(1), connection.write(b"again"));
        assert_eq!(woken.await.unwrap().unwrap(), 5);
        drop(second);
        assert!(poll!(Box::pin(connection.write(b"alone"))).is_ready());
    }

    /// Certificates of a new authority, which is the first value.
    async fn certificates() -> (Vec<u8>, Arc<Certificates>) {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (cert, own) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        std::fs::write(&cert, key.cert.pem()).unwrap();
        std::fs::write(&own, key.signing_key.serialize_pem()).unwrap();
        let files = TlsFiles { cert, key: own, client_ca: None };
        (key.cert.der().to_vec(), Certificates::open(files).await.unwrap().0)
    }

    async fn tls_client(authority: Vec<u8>, socket: TcpStream) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.into()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "localhost".try_into().unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_end_its_handshake_in_time_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let max = MaxConnections { of_all: 10, of_address: 10, handshakes_per_second: 0 };
        let (_, certificates) = certificates().await;
        let accepted =
            accept(Listeners::new(vec![listener]), max, memory(), CancellationToken::new(), Some(certificates));
        let mut connections = std::pin::pin!(accepted);
        for said in [&b""[..], &[0x16, 0x03, 0x01]] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(said).await.unwrap();
            let mut connection = connections.next().await.unwrap().unwrap();
            let error = connection.read(&mut [0; 64]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{said:?}");
        }
    }

    #[tokio::test]
    async fn connections_above_the_handshakes_of_their_address_are_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let max = MaxConnections { of_all: 50, of_address: 50, handshakes_per_second: 1 };
        let (authority, certificates) = certificates().await;
        let accepted =
            accept(Listeners::new(vec![listener]), max, memory(), CancellationToken::new(), Some(certificates));
        let serving = tokio::spawn(async move {
            accepted
                .for_each_concurrent(None, |connection| async { drop(connection.unwrap().read(&mut [0; 64]).await) })
                .await;
        });
        let mut ends = futures_util::stream::FuturesUnordered::new();
        for n in 0..20 {
            let mut socket = TcpStream::connect(address).await.unwrap();
            if n == 0 {
                tls_client(authority.clone(), socket).await;
                continue;
            }
            // An accepted connection waits for the handshake of the client, and has no end.
            ends.push(async move { matches!(socket.read(&mut [0; 64]).await, Ok(0) | Err(_)) });
        }
        assert_eq!(ends.next().await, Some(true));
        serving.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_cut_with_tls_as_without() {
        for is_tls in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let max = MaxConnections { of_all: 10, of_address: 10, handshakes_per_second: 0 };
            let (authority, certificates) = certificates().await;
            let certificates = is_tls.then_some(certificates);
            let mut connections = std::pin::pin!(accept(
                Listeners::new(vec![listener]),
                max,
                memory(),
                CancellationToken::new(),
                certificates
            ));
            let mut connection = connections.next().await.unwrap().unwrap();
            let client = tokio::spawn(async move {
                let open: Box<dyn std::any::Any + Send> = match is_tls {
                    true => Box::new(tls_client(authority, socket).await),
                    false => Box::new(socket),
                };
                open
            });
            let written = async {
                loop {
                    connection.write_all(&[0; 1_024]).await?;
                    connection.flush().await?;
                }
            };
            let ended: io::Result<()> = written.await;
            assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut, "TLS: {is_tls}");
            let _open = client.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_part_of_the_preface_says_nothing_yet_and_all_else_says_the_protocol() {
        for cut in 1..PREFACE.len() {
            let mut silence = Silence::new();
            assert!(!silence.is_over(&PREFACE[..cut]), "{cut}");
            assert!(silence.is_over(&PREFACE[cut..]), "{cut}");
            let mut silence = Silence::new();
            assert!(!silence.is_over(&PREFACE[..cut]) && silence.is_over(b"?"), "{cut}");
        }
        assert!(Silence::new().is_over(b"GET / HTTP/1.1"));
        assert!(Silence::new().is_over(b"POST"));
        assert!(Silence::new().is_over(&[PREFACE, b"more"].concat()));
    }
}
