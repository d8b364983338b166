//! Promises 4 and 5 across kills: a subscriber that resumes from its cursor misses no event and gets no event twice.

use std::collections::HashMap;

use runlog::pb::{self, subscribe_response::Frame};
use tokio::sync::watch;
use tonic::transport::Endpoint;

use crate::client::{self, Events, event, publish};
use crate::harness::{Data, Server, within};
use crate::rng::Rng;

/// The address of the current server; each server has a new port.
type Place = watch::Receiver<String>;

/// A connection to the current server, after its start.
async fn connect(place: &mut Place) -> Events {
    loop {
        let url = place.borrow_and_update().clone();
        if let Ok(channel) = Endpoint::from_shared(url).unwrap().connect().await {
            return Events::new(channel);
        }
        place.changed().await.unwrap();
    }
}

/// Publishes the events of a run in order, with retries until acknowledged.
async fn publish_all(mut place: Place, run_id: String, count: u64) {
    let mut events = connect(&mut place).await;
    for n in 1..=count {
        let event_type = if n == count { "run_end" } else { "step" };
        let request = publish(&run_id, vec![event(&format!("e{n}"), event_type, &format!("{{\"n\":{n}}}"))]);
        loop {
            match events.publish(request.clone()).await {
                Ok(answer) => {
                    assert_eq!(answer.into_inner().events[0].seq, n);
                    break;
                }
                Err(status) if client::is_broken(&status) => events = connect(&mut place).await,
                Err(status) => panic!("{status:?}"),
            }
        }
    }
}

/// Follows across all disconnects until `is_done`; records the received events.
async fn follow(
    mut place: Place,
    request: impl Fn(&str) -> pb::SubscribeRequest,
    received: watch::Sender<Vec<(String, u64)>>,
    is_done: impl Fn(&Frame, &[(String, u64)]) -> bool,
) {
    let mut cursor = String::new();
    loop {
        let mut events = connect(&mut place).await;
        let mut frames = match events.subscribe(request(&cursor)).await {
            Ok(frames) => frames.into_inner(),
            Err(status) if client::is_broken(&status) => continue,
            Err(status) => panic!("{status:?}"),
        };
        while let Ok(Some(frame)) = frames.message().await {
            let kind = frame.frame.unwrap();
            if let Frame::Events(batch) = &kind {
                let batch = batch.events().unwrap();
                received
                    .send_modify(|received| received.extend(batch.into_iter().map(|event| (event.run_id, event.seq))));
            }
            cursor = frame.cursor;
            if is_done(&kind, &received.borrow()) {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_resumes_across_kills_misses_nothing_and_sees_nothing_twice() {
    const RUNS: u64 = 3;
    const LENGTH: u64 = 1_500;
    const KILLS: u64 = 8;
    let mut chance = Rng::new("resume");
    let data = Data::new();
    let mut server = Server::start(&data.file()).await;
    let (moved, place) = watch::channel(server.url());
    for run in 0..RUNS {
        tokio::spawn(publish_all(place.clone(), format!("run-{run}"), LENGTH));
    }
    let (of_run, mut run_received) = watch::channel(Vec::new());
    let (of_all, all_received) = watch::channel(Vec::new());
    let wait_for_run =
        |cursor: &str| pb::SubscribeRequest { wait_for_run: true, ..client::follow_from("run-0", cursor) };
    let ends = |frame: &Frame, _: &[_]| match frame {
        Frame::RunEnded(end) => {
            assert_eq!(end.last_seq, LENGTH);
            true
        }
        _ => false,
    };
    let has_all = |_: &Frame, received: &[_]| received.len() as u64 == RUNS * LENGTH;
    let one = tokio::spawn(follow(place.clone(), wait_for_run, of_run, ends));
    let all = tokio::spawn(follow(place, client::follow_all, of_all, has_all));
    for kill in 0..KILLS {
        let received = run_received.borrow_and_update().len() as u64;
        let moment = received + chance.within(1..(LENGTH - received) / (KILLS - kill));
        within("the next events", run_received.wait_for(|received| received.len() as u64 >= moment)).await.unwrap();
        server.kill().await;
        server = Server::start(&data.file()).await;
        moved.send_replace(server.url());
    }
    within("the end of the run", one).await.unwrap();
    within("all events", all).await.unwrap();
    let expected: Vec<_> = (1..=LENGTH).map(|seq| ("run-0".to_owned(), seq)).collect();
    assert_eq!(*run_received.borrow(), expected);
    let mut last: HashMap<&str, u64> = HashMap::new();
    let all_received = all_received.borrow();
    for (run_id, seq) in all_received.iter() {
        let last = last.entry(run_id).or_default();
        assert_eq!(*seq, *last + 1, "the next event of {run_id}");
        *last = *seq;
    }
    assert!(last.values().all(|last| *last == LENGTH), "{last:?}");
}
