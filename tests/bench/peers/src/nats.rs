//! NATS JetStream: one stream in files; a run is a subject of the stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow};
use async_nats::Client;
use async_nats::jetstream::consumer::push::OrderedConfig;
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self, Context};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _};

use crate::meter::{Period, Tally, payload};
use crate::system::{CONNECTIONS, Part, STREAM_WINDOW, System};
use crate::workload::run_of;

const STREAM: &str = "bench";

/// Connections to a NATS server.
pub struct Nats(Vec<(Client, Context)>);

impl Nats {
    pub async fn open(address: &str) -> Result<Self> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let client = async_nats::connect(address).await?;
            connections.push((client.clone(), jetstream::new(client)));
        }
        let subjects = vec!["runs.>".to_owned()];
        let config = Config { name: STREAM.to_owned(), subjects, storage: StorageType::File, ..Config::default() };
        connections[0].1.create_stream(config).await?;
        Ok(Self(connections))
    }

    fn connection(&self, worker: usize) -> &(Client, Context) {
        &self.0[worker % self.0.len()]
    }
}

fn subject(run: &str) -> String {
    format!("runs.{run}")
}

#[async_trait]
impl System for Nats {
    async fn publish(&self, worker: usize, run: &str, payloads: &[Bytes]) -> Result<()> {
        let (context, mut acks) = (&self.connection(worker).1, Vec::with_capacity(payloads.len()));
        for payload in payloads {
            acks.push(context.publish(subject(run), payload.clone()).await?);
        }
        for ack in acks {
            ack.await?;
        }
        Ok(())
    }

    async fn stream(self: Arc<Self>, worker: usize, window: Period) -> Result<Option<Tally>> {
        let context = &self.connection(worker).1;
        let (payload, mut next, mut tally) = (payload(), worker * 7_919, Tally::default());
        let mut sent = VecDeque::with_capacity(STREAM_WINDOW);
        loop {
            if window.is_open() && sent.len() < STREAM_WINDOW {
                next += 1;
                let ack = context.publish(subject(&run_of(next)), payload.clone()).await?;
                sent.push_back((Instant::now(), ack));
                continue;
            }
            let Some((began, ack)) = sent.pop_front() else { return Ok(Some(tally)) };
            ack.await?;
            tally.add(&window, 1, began.elapsed());
        }
    }

    async fn replay(&self, run: &str, events: usize) -> Result<u64> {
        let (client, context) = self.connection(0);
        let stream = context.get_stream_no_info(STREAM).await?;
        let (deliver_subject, filter_subject) = (client.new_inbox(), subject(run));
        let consumer = stream.create_consumer(OrderedConfig { deliver_subject, filter_subject, ..Default::default() });
        let mut messages = consumer.await?.messages().await?;
        for _ in 0..events {
            messages.next().await.ok_or_else(|| anyhow!("the replay ended"))??;
        }
        Ok(events as u64)
    }

    async fn follow(&self, worker: usize, run: &str) -> Result<BoxStream<'static, Result<Part>>> {
        let client = &self.connection(worker).0;
        let messages = client.subscribe(subject(run)).await?;
        // A flush is answered after the server has processed the subscription.
        client.flush().await?;
        Ok(messages.map(|message| Ok(Part { events: 1, first: message.payload })).boxed())
    }
}
