//! Publishers that publish until the server is gone, with each of the three methods.

use std::collections::VecDeque;

use runlog::pb::{self, publish_stream_response::Result as Answer};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use crate::client::{self, Events};
use crate::ledger::Run;

#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// One event a call.
    Unary,
    /// Several events a call; all or none.
    Batches,
    /// One event a request, hundreds of requests in flight.
    Stream,
}

/// One publisher with its own runs.
pub struct Publisher {
    name: String,
    way: Way,
    pub runs: Vec<Run>,
    /// Indexes of the runs in progress, in turn.
    current: VecDeque<usize>,
}

/// Number of acknowledged events, for tests that wait for a number.
pub type Acks = watch::Sender<u64>;

impl Publisher {
    /// Publishes to `width` runs in turn.
    pub fn new(name: &str, way: Way, width: usize) -> Self {
        let mut publisher = Self { name: name.to_owned(), way, runs: Vec::new(), current: VecDeque::new() };
        for _ in 0..width {
            publisher.begin_run();
        }
        publisher
    }

    fn begin_run(&mut self) {
        self.current.push_back(self.runs.len());
        let id = format!("{}-{}", self.name, self.runs.len());
        self.runs.push(Run::new(id, matches!(self.way, Way::Batches)));
    }

    /// The next run in turn; a full run is replaced by a new run.
    fn turn(&mut self) -> usize {
        let run = self.current.pop_front().expect("a publisher has a run");
        if self.runs[run].is_full() {
            self.begin_run();
            return self.turn();
        }
        self.current.push_back(run);
        run
    }

    /// The unanswered events as sent, in the order of each run.
    fn unanswered(&self) -> Vec<(usize, pb::PublishRequest)> {
        let mut requests = Vec::new();
        for (index, run) in self.runs.iter().enumerate().filter(|(_, run)| run.acked < run.sent.len()) {
            let rest = &run.sent[run.acked..];
            match self.way {
                Way::Batches => requests.push((index, client::publish(&run.id, rest.to_vec()))),
                _ => requests.extend(rest.iter().map(|event| (index, client::publish(&run.id, vec![event.clone()])))),
            }
        }
        requests
    }

    fn next_request(&mut self) -> (usize, pb::PublishRequest) {
        let index = self.turn();
        let run = &mut self.runs[index];
        let count = if matches!(self.way, Way::Batches) { 1 + run.sent.len() % 9 } else { 1 };
        let events = (0..count).map(|_| run.next_event()).collect();
        (index, client::publish(&run.id, events))
    }

    /// Publishes until the server is gone; unanswered events first.
    pub async fn publish(mut self, mut events: Events, acks: Acks) -> Self {
        match self.way {
            Way::Unary | Way::Batches => self.call_by_call(&mut events, &acks).await,
            Way::Stream => self.stream(&mut events, &acks).await,
        }
        self
    }

    async fn call_by_call(&mut self, events: &mut Events, acks: &Acks) {
        let mut again = VecDeque::from(self.unanswered());
        loop {
            let (index, request) = again.pop_front().unwrap_or_else(|| self.next_request());
            match events.publish(request).await {
                Ok(answer) => self.acknowledged(index, &answer.into_inner(), acks),
                Err(status) => {
                    let drains = client::refusal(&status).1 == "SHUTTING_DOWN";
                    assert!(drains || client::is_broken(&status), "a refusal that nobody asked for: {status:?}");
                    return;
                }
            }
        }
    }

    async fn stream(&mut self, events: &mut Events, acks: &Acks) {
        const UNDER_WAY: usize = 300;
        let mut again = VecDeque::from(self.unanswered());
        let (sender, requests) = mpsc::channel(UNDER_WAY);
        let Ok(answers) = events.publish_stream(ReceiverStream::new(requests)).await else { return };
        let mut answers = answers.into_inner();
        let (mut under_way, mut drains) = (VecDeque::new(), false);
        loop {
            while under_way.len() < UNDER_WAY && !drains && !sender.is_closed() {
                let (index, request) = again.pop_front().unwrap_or_else(|| self.next_request());
                under_way.push_back(index);
                // A closed stream: earlier answers are still to be read.
                let _ = sender.send(pb::PublishStreamRequest { publish: Some(request) }).await;
            }
            match answers.message().await {
                Ok(Some(pb::PublishStreamResponse { result: Some(Answer::Published(answer)) })) => {
                    let index = under_way.pop_front().expect("one answer for each request");
                    self.acknowledged(index, &answer, acks);
                }
                Ok(Some(pb::PublishStreamResponse { result: Some(Answer::Failure(failure)) })) => {
                    assert_eq!(failure.reason, "SHUTTING_DOWN");
                    (_, drains) = (under_way.pop_front(), true);
                }
                Ok(Some(other)) => panic!("no answer: {other:?}"),
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn acknowledged(&mut self, index: usize, answer: &pb::PublishResponse, acks: &Acks) {
        self.runs[index].acknowledge(answer);
        acks.send_modify(|acked| *acked += answer.events.len() as u64);
    }
}
