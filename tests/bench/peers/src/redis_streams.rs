//! Redis streams: a run is a key.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, FuturesUnordered, StreamExt as _, try_unfold};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Value};

use crate::meter::{Period, Tally, payload};
use crate::system::{CONNECTIONS, Part, STREAM_WINDOW, System};
use crate::workload::run_of;

/// Entries of a page.
const PAGE: usize = 1_000;

/// Connections to a Redis server.
pub struct Redis {
    client: Client,
    connections: Vec<MultiplexedConnection>,
}

impl Redis {
    pub async fn open(address: &str) -> Result<Self> {
        let client = Client::open(format!("redis://{address}"))?;
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(connect(&client).await?);
        }
        Ok(Self { client, connections })
    }

    fn connection(&self, worker: usize) -> MultiplexedConnection {
        self.connections[worker % self.connections.len()].clone()
    }
}

async fn connect(client: &Client) -> Result<MultiplexedConnection> {
    // A blocking read waits without a timeout.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

fn add(run: &str, payload: &Bytes) -> Cmd {
    let mut add = redis::cmd("XADD");
    add.arg(run).arg("*").arg("d").arg(payload.as_ref());
    add
}

#[async_trait]
impl System for Redis {
    async fn publish(&self, worker: usize, run: &str, payloads: &[Bytes]) -> Result<()> {
        let mut connection = self.connection(worker);
        if let [payload] = payloads {
            return Ok(add(run, payload).query_async(&mut connection).await?);
        }
        let mut pipe = redis::pipe();
        pipe.atomic();
        for payload in payloads {
            pipe.add_command(add(run, payload)).ignore();
        }
        Ok(pipe.query_async(&mut connection).await?)
    }

    async fn stream(self: Arc<Self>, worker: usize, window: Period) -> Result<Option<Tally>> {
        let connection = self.connection(worker);
        let (payload, mut next, mut tally) = (payload(), worker * 7_919, Tally::default());
        let mut sent = FuturesUnordered::new();
        loop {
            while window.is_open() && sent.len() < STREAM_WINDOW {
                next += 1;
                let (mut connection, add) = (connection.clone(), add(&run_of(next), &payload));
                sent.push(async move {
                    let began = Instant::now();
                    add.query_async::<()>(&mut connection).await.map(|()| began.elapsed())
                });
            }
            let Some(took) = sent.next().await else { return Ok(Some(tally)) };
            tally.add(&window, 1, took?);
        }
    }

    async fn replay(&self, run: &str, _events: usize) -> Result<u64> {
        let (mut connection, mut from, mut seen) = (self.connection(0), "-".to_owned(), 0);
        loop {
            let mut range = redis::cmd("XRANGE");
            range.arg(run).arg(&from).arg("+").arg("COUNT").arg(PAGE);
            let Value::Array(entries) = range.query_async(&mut connection).await? else { return Ok(seen) };
            seen += entries.len() as u64;
            let Some(last) = entries.last().and_then(id) else { return Ok(seen) };
            from = format!("({last}");
        }
    }

    async fn follow(&self, _worker: usize, run: &str) -> Result<BoxStream<'static, Result<Part>>> {
        // A blocking read needs a connection of its own.
        let mut connection = connect(&self.client).await?;
        let mut newest = redis::cmd("XREVRANGE");
        newest.arg(run).arg("+").arg("-").arg("COUNT").arg(1);
        let last = match newest.query_async(&mut connection).await? {
            Value::Array(entries) => entries.last().and_then(id),
            _ => None,
        };
        let state = (connection, run.to_owned(), last.unwrap_or_else(|| "0-0".to_owned()));
        let parts = try_unfold(state, |(mut connection, run, last)| async move {
            let mut read = redis::cmd("XREAD");
            read.arg("COUNT").arg(PAGE).arg("BLOCK").arg(0).arg("STREAMS").arg(&run).arg(&last);
            let answer: Value = read.query_async(&mut connection).await?;
            let Some(entries) = entries(answer) else { return Ok(None) };
            let Some(last) = entries.last().and_then(id) else { return Ok(None) };
            let part = Part { events: entries.len() as u64, first: entries.first().and_then(data).unwrap_or_default() };
            Ok(Some((part, (connection, run, last))))
        });
        Ok(parts.boxed())
    }
}

/// The entries of the stream in the answer of an XREAD for one stream.
fn entries(answer: Value) -> Option<Vec<Value>> {
    let Value::Array(mut streams) = answer else { return None };
    let Value::Array(mut stream) = streams.pop()? else { return None };
    let Value::Array(entries) = stream.pop()? else { return None };
    Some(entries)
}

fn id(entry: &Value) -> Option<String> {
    let Value::Array(entry) = entry else { return None };
    match entry.first()? {
        Value::BulkString(id) => String::from_utf8(id.clone()).ok(),
        _ => None,
    }
}

fn data(entry: &Value) -> Option<Bytes> {
    let Value::Array(entry) = entry else { return None };
    let Value::Array(fields) = entry.get(1)? else { return None };
    match fields.get(1)? {
        Value::BulkString(data) => Some(data.clone().into()),
        _ => None,
    }
}
