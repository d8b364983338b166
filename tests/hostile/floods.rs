//! Floods of HTTP/2 frames.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{Data, Server, within};
use crate::honest::{SMALL, beside};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames of one write, and writes before the stream numbers repeat.
const PART: u32 = 128;
const PARTS: u32 = 256;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a POST, without indexing: `:method`, `:scheme`, `:path`, `:authority`, `content-type`.
fn headers() -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (index, value) in [(0x04, "/runlog.v1.EventService/Publish"), (0x01, "localhost")] {
        block.push(index);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.as_bytes());
    }
    block.extend([0x0f, 0x10, 16]);
    block.extend(b"application/grpc");
    block
}

/// Sends the frames repeatedly on some connections until the server cuts each of them, beside honest clients.
async fn are_cut(attack: &str, frames: impl Fn(u32) -> Vec<u8> + Send + Sync + Clone + 'static) {
    let data = Data::new();
    let server = Server::with(&data.file(), &SMALL).await;
    let begin = async || {
        let mut tasks = JoinSet::new();
        for _ in 0..4 {
            let mut socket = TcpStream::connect(server.address).await.unwrap();
            let frames = frames.clone();
            tasks.spawn(async move {
                socket.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
                let (mut read, mut write) = socket.into_split();
                let sends = async {
                    // Stream numbers must not repeat, so the server refuses the second cycle at the latest.
                    for part in (0..PARTS).cycle() {
                        let part: Vec<u8> = (0..PART).flat_map(|n| frames(1 + 2 * (PART * part + n))).collect();
                        if write.write_all(&part).await.is_err() {
                            return;
                        }
                    }
                };
                let reads = async {
                    let mut buffer = vec![0; 64 << 10];
                    while read.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
                };
                tokio::join!(sends, reads);
            });
        }
        tasks
    };
    let end = async |mut tasks: JoinSet<()>| {
        while let Some(ended) = within("the end of the flood", tasks.join_next()).await {
            ended.unwrap();
        }
    };
    beside(&server, attack, begin, end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pings_is_cut() {
    are_cut("a flood of PING", |_| frame(PING, 0, 0, &[0; 8])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_settings_is_cut() {
    are_cut("a flood of SETTINGS", |_| frame(SETTINGS, 0, 0, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_window_updates_is_cut() {
    are_cut("a flood of WINDOW_UPDATE", |_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_reset_at_once_are_cut() {
    let block = headers();
    are_cut("rapid reset", move |stream| {
        let begun = frame(HEADERS, END_HEADERS, stream, &block);
        [begun, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_are_cut() {
    let block = headers();
    are_cut("CONTINUATION without end", move |stream| match stream {
        1 => frame(HEADERS, 0, 1, &block),
        _ => frame(CONTINUATION, 0, 1, &block[..2]),
    })
    .await;
}

/// One large header goes into the HPACK table, and one-byte references repeat it many times.
#[tokio::test(flavor = "multi_thread")]
async fn headers_that_grow_when_they_are_read_are_refused() {
    let mut first = headers();
    first.extend([0x40, 1, b'a', 0x7f, 0x81, 0x1e]);
    first.extend([b'x'; 4_000]);
    let mut bomb = headers();
    bomb.resize(bomb.len() + 16_000, 0xbe);
    are_cut("an HPACK bomb", move |stream| {
        frame(HEADERS, END_HEADERS, stream, if stream == 1 { &first } else { &bomb })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_come_slowly_are_given_up() {
    let data = Data::new();
    let server = Server::with(&data.file(), &SMALL).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(b"GET /health/live HTTP/1.1\r\n").await.unwrap();
    let (mut read, mut write) = socket.into_split();
    let sends = async {
        while write.write_all(b"X-A: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let mut answer = Vec::new();
    let reads = async {
        let _ = read.read_to_end(&mut answer).await;
    };
    within("the end of slow headers", async { tokio::join!(sends, reads) }).await;
}
