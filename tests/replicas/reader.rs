//! A reader that resumes from its cursor after any disconnect, and checks every frame.

use std::sync::Arc;
use std::time::Duration;

use runlog::domain::FeedCursor;
use runlog::pb::subscribe_request::{Scope, Start};
use runlog::pb::subscribe_response::Frame;
use runlog::pb::{AllRuns, SubscribeRequest};
use tokio::time::timeout;

use crate::world::{Acked, GUARD, World, may_be_repeated};

/// The events that a reader received.
pub struct Received {
    /// `None`: all runs.
    pub run: Option<String>,
    pub events: Acked,
}

/// Follows a scope through one channel to the announced end.
pub async fn follow(world: Arc<World>, run: Option<String>, home: usize) -> Received {
    read(world, run, move |_| home).await
}

/// Follows a scope, each time through the next channel.
pub async fn wander(world: Arc<World>, run: Option<String>) -> Received {
    read(world, run, |attempt| attempt).await
}

async fn read(world: Arc<World>, run: Option<String>, place: impl Fn(usize) -> usize) -> Received {
    let mut received = Received { run: run.clone(), events: Vec::new() };
    let mut cursor = String::new();
    let mut ends = world.ends.subscribe();
    for attempt in 0_usize.. {
        let end = |ends: &Option<std::collections::HashMap<String, u64>>| {
            ends.as_ref().map(|ends| ends.get(run.as_deref().unwrap_or_default()).copied().unwrap_or(0))
        };
        let is_done =
            |received: &Received, end: Option<u64>| end.is_some_and(|end| received.events.len() as u64 >= end);
        if is_done(&received, end(&ends.borrow())) {
            break;
        }
        let scope = match &run {
            Some(run) => Scope::RunId(run.clone()),
            None => Scope::AllRuns(AllRuns {}),
        };
        let request = SubscribeRequest {
            scope: Some(scope),
            start: Some(Start::Cursor(cursor.clone())),
            keep_open: true,
            wait_for_run: true,
            max_batch: 7,
            ..SubscribeRequest::default()
        };
        let mut client = world.events(place(attempt));
        let stream = match timeout(GUARD / 6, client.subscribe(request)).await {
            Ok(Ok(stream)) => stream,
            refused => {
                if let Ok(Err(status)) = refused {
                    may_be_repeated(&status);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let mut stream = stream.into_inner();
        // The wandering reader disconnects after some frames.
        let mut frames_left = if place(0) == place(1) { usize::MAX } else { 40 };
        while frames_left > 0 && !is_done(&received, end(&ends.borrow_and_update())) {
            frames_left -= 1;
            let frame = tokio::select! {
                frame = timeout(GUARD / 6, stream.message()) => frame.expect("heartbeats come"),
                _ = ends.changed() => continue,
            };
            let frame = match frame {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(status) => {
                    may_be_repeated(&status);
                    break;
                }
            };
            let before = received.events.len() as u64;
            if let Some(Frame::Events(batch)) = frame.frame {
                received
                    .events
                    .extend(batch.events().unwrap().into_iter().map(|event| (event.run_id, event.seq, event.event_id)));
            }
            let at = offset(&frame.cursor);
            assert_eq!(received.events.len() as u64, at, "no gap and no duplicate in {run:?} after {before}");
            if let (Some(_), Some((_, seq, _))) = (&run, received.events.last()) {
                assert_eq!(*seq, at, "seqs are gapless");
            }
            cursor = frame.cursor;
        }
    }
    received
}

/// The offset of a cursor: a seq, or the position in a cursor of the feed.
fn offset(cursor: &str) -> u64 {
    FeedCursor::parse(cursor).map_or_else(|_| cursor.parse().unwrap(), |cursor| cursor.position)
}
