//! REST workloads over HTTP/1.1: publishing through the agent SDK ingest API, and event streams.

use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::transport::Uri;

use super::args::{BenchArgs, unexpected};
use super::load::{Source, collect};
use super::meter::{Figures, Tally, Window};
use super::read::Publisher;
use super::target::Target;
use crate::cli::outcome::{Exit, Failure};

/// Bytes of a stream part that are searched for the time of the first event: two events of the usual size.
const TIME_WITHIN: usize = 4_096;

/// Concurrent connections, each with one request of one event in flight.
pub async fn ingest(args: &BenchArgs, target: &Target, connections: usize) -> Result<Figures, Failure> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(Connection::connect(target.server()).await?);
    }
    let window = Window::start(args.time);
    let mut tasks = JoinSet::new();
    for (worker, mut client) in clients.into_iter().enumerate() {
        let mut source = Source::new(args, worker);
        tasks.spawn(async move {
            let mut tally = Tally::default();
            while window.is_open() {
                let body = source.ingest_body();
                let began = Instant::now();
                let answer = client.send("POST", "/api/ingest", body).await?;
                answer.into_body().collect().await.map_err(broken)?;
                tally.add(&window, 1, began.elapsed());
            }
            Ok(tally)
        });
    }
    collect(tasks, window).await
}

/// One run with many event streams, at full speed.
pub async fn sse(args: &BenchArgs, target: &Target, subscribers: usize) -> Result<Figures, Failure> {
    let mut publisher = Publisher::new(args, target, format!("sse-{subscribers}"));
    publisher.publish(1).await?;
    let path = format!("/api/runs/{}/events/stream", publisher.run_id());
    let mut streams = Vec::new();
    for _ in 0..subscribers {
        let mut client = Connection::connect(target.server()).await?;
        streams.push((client.send("GET", &path, String::new()).await?.into_body(), client));
    }
    let window = Window::start(args.time);
    let mut tasks = JoinSet::new();
    for (body, client) in streams {
        tasks.spawn(async move {
            // Keeps the connection open as long as the stream.
            let _client = client;
            follow(body, window).await
        });
    }
    publisher.full_speed(window).await?;
    publisher.end().await?;
    collect(tasks, window).await
}

async fn follow(mut body: Incoming, window: Window) -> Result<Tally, Failure> {
    let (mut tally, mut last) = (Tally::default(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(part) = frame.map_err(broken)?.into_data() else { continue };
        let events = ends(last, &part);
        last = part.last().copied().unwrap_or(last);
        // One latency for each part: that of the first complete event, which waited longest.
        let published = occurred_at(&part[..part.len().min(TIME_WITHIN)]);
        let took = published.and_then(|at| Timestamp::now().duration_since(at).try_into().ok());
        match took {
            Some(took) => tally.add(&window, events, took),
            None => tally.count(&window, events),
        }
    }
    Ok(tally)
}

/// Number of events that end in this part: each event ends with an empty line, and only events do. `before` is the last
/// byte of the previous part.
fn ends(before: u8, part: &[u8]) -> u64 {
    let is_end = |(a, b): (&u8, &u8)| u64::from(*a == b'\n') & u64::from(*b == b'\n');
    let first = part.first().map_or(0, |first| is_end((&before, first)));
    first + part.iter().zip(part.iter().skip(1)).map(is_end).sum::<u64>()
}

fn occurred_at(part: &[u8]) -> Option<Timestamp> {
    const NAME: &[u8] = br#""occurred_at":""#;
    let begin = part.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let length = part[begin..].iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&part[begin..begin + length]).ok()?.parse().ok()
}

/// One HTTP/1.1 connection, kept alive.
struct Connection {
    requests: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    async fn connect(server: &Uri) -> Result<Self, Failure> {
        let authority = server.authority().ok_or_else(|| unexpected("the server's URL has no host"))?;
        let host = authority.to_string();
        let address = (authority.host(), authority.port_u16().unwrap_or(80));
        let socket = TcpStream::connect(address).await.map_err(|error| cut(&error.to_string()))?;
        socket.set_nodelay(true).map_err(|error| cut(&error.to_string()))?;
        let (requests, connection) = handshake(TokioIo::new(socket)).await.map_err(broken)?;
        // The task ends with this client or with the server; a pending request then returns the error.
        tokio::spawn(connection);
        Ok(Self { requests, host })
    }

    async fn send(&mut self, method: &str, path: &str, body: String) -> Result<Response<Incoming>, Failure> {
        let request = Request::builder().method(method).uri(path).header(HOST, &self.host);
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::from(body));
        let request = request.map_err(|error| unexpected(&error.to_string()))?;
        self.requests.ready().await.map_err(broken)?;
        let answer = self.requests.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.into_body().collect().await.map_err(broken)?.to_bytes();
        let text = format!("{method} {path} was answered {status}: {}", String::from_utf8_lossy(&text));
        let exit = if status == StatusCode::TOO_MANY_REQUESTS { Exit::TryLater } else { Exit::Protocol };
        Err(Failure::new(exit, text))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: hyper::Error) -> Failure {
    cut(&error.to_string())
}

fn cut(problem: &str) -> Failure {
    Failure::new(Exit::Unavailable, format!("the connection broke: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_wherever_the_stream_is_cut() {
        let stream = b"retry: 2000\nid: 1\ndata: {}\n\n: hb\nid: 2\ndata: {}\n\n";
        assert_eq!(ends(0, stream), 2);
        for at in 0..stream.len() {
            let (one, other) = stream.split_at(at);
            let last = one.last().copied().unwrap_or(0);
            assert_eq!(ends(0, one) + ends(last, other), 2, "cut at {at}");
        }
    }

    #[test]
    fn the_time_of_the_first_event_is_found() {
        let part = br#"6Z"} data: {"occurred_at":"2026-01-02T03:04:05.6Z","payload":{}}"#;
        assert_eq!(occurred_at(part), "2026-01-02T03:04:05.6Z".parse().ok());
        assert_eq!(occurred_at(b": hb\n"), None);
    }
}
