//! Replicas, publishers and readers, and the final checks for all of them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::{NewEvent, Payload, PublishRequest, payload};
use sqlx::Connection;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::cluster::Database;
use crate::reader::{self, Received};
use crate::replica::Replica;

/// Guard against a test that hangs; no other timing depends on the value.
pub const GUARD: Duration = Duration::from_secs(60);

/// Runs that all publishers write to.
pub const RUNS: usize = 4;

/// Acknowledged events: run, seq, id.
pub type Acked = Vec<(String, u64, String)>;

pub struct World {
    pub replicas: Vec<Replica>,
    /// The channels of publishers and readers: to the replicas or to a balancer.
    pub channels: Vec<Channel>,
    pub database: Database,
    acked: Mutex<Acked>,
    count: watch::Sender<usize>,
    stop: watch::Sender<bool>,
    /// The ends of the scopes after the last publish: by run, and the feed under the empty name.
    pub ends: watch::Sender<Option<HashMap<String, u64>>>,
}

impl World {
    /// Starts publishers and readers on all replicas.
    pub fn begin(database: Database, replicas: Vec<Replica>) -> (Arc<Self>, Busy) {
        let channels = replicas.iter().map(Replica::channel).collect();
        Self::behind(channels, database, replicas)
    }

    /// Starts publishers and readers on these channels.
    pub fn behind(channels: Vec<Channel>, database: Database, replicas: Vec<Replica>) -> (Arc<Self>, Busy) {
        let world = Arc::new(Self {
            replicas,
            channels,
            database,
            acked: Mutex::default(),
            count: watch::Sender::new(0),
            stop: watch::Sender::new(false),
            ends: watch::Sender::new(None),
        });
        let (mut publishers, mut readers) = (JoinSet::new(), JoinSet::new());
        for publisher in 0..6 {
            publishers.spawn(publish(world.clone(), publisher));
        }
        for home in 0..world.channels.len() {
            readers.spawn(reader::follow(world.clone(), None, home));
            readers.spawn(reader::follow(world.clone(), Some(format!("r{}", home % RUNS)), home));
        }
        // Two readers that move from channel to channel.
        readers.spawn(reader::wander(world.clone(), None));
        readers.spawn(reader::wander(world.clone(), Some("r0".to_owned())));
        (world, Busy { publishers, readers })
    }

    /// Waits for this number of further acknowledged events: the system has recovered.
    pub async fn more(&self, events: usize) {
        let before = *self.count.borrow();
        let recovered = async { self.count.subscribe().wait_for(|count| *count >= before + events).await.map(drop) };
        timeout(GUARD, recovered)
            .await
            .unwrap_or_else(|_| panic!("no more than {before} events are acknowledged"))
            .unwrap();
    }

    /// A client on one of the channels.
    pub fn events(&self, channel: usize) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channels[channel % self.channels.len()].clone())
    }

    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    pub fn acknowledge(&self, run: &str, events: &[runlog::pb::PublishedEvent]) {
        let mut acked = self.acked.lock().unwrap();
        acked.extend(events.iter().map(|event| (run.to_owned(), event.seq, event.event_id.clone())));
        self.count.send_replace(acked.len());
    }
}

/// The tasks of publishers and readers.
pub struct Busy {
    pub publishers: JoinSet<()>,
    readers: JoinSet<Received>,
}

impl Busy {
    /// Stops publishing, lets the readers read to the end, and checks the received events.
    pub async fn check(self, world: &World) {
        world.stop.send_replace(true);
        timeout(GUARD, self.publishers.join_all()).await.expect("the publishers are answered");
        let mut connection = world.database.connect().await;
        let runs: Vec<(String, i64)> =
            sqlx::query_as("SELECT run_id, last_seq FROM runs").fetch_all(&mut connection).await.unwrap();
        let scope_end: i64 =
            sqlx::query_scalar("SELECT last_pos FROM feed WHERE id = 1").fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let mut ends: HashMap<String, u64> = runs.into_iter().map(|(run, last)| (run, last.unsigned_abs())).collect();
        ends.insert(String::new(), scope_end.unsigned_abs());
        world.ends.send_replace(Some(ends.clone()));
        let received = timeout(GUARD, self.readers.join_all()).await.expect("the readers receive all events");
        let feeds: Vec<&Received> = received.iter().filter(|received| received.run.is_none()).collect();
        let feed = &feeds[0].events;
        assert_eq!(feed.len() as u64, ends[""], "the feed is received as a whole");
        for other in &feeds {
            assert!(other.events == *feed, "the order is the same for every reader");
        }
        let places: HashSet<_> = feed.iter().map(|(run, seq, _)| (run, seq)).collect();
        let ids: HashSet<_> = feed.iter().map(|(run, _, id)| (run, id)).collect();
        assert_eq!((places.len(), ids.len()), (feed.len(), feed.len()), "every event once");
        for of_run in received.iter().filter(|received| received.run.is_some()) {
            let in_feed = feed.iter().filter(|(run, _, _)| Some(run) == of_run.run.as_ref());
            assert!(in_feed.eq(&of_run.events), "a run is received in the order of the feed");
        }
        let stored: HashSet<_> = feed.iter().collect();
        let acked = world.acked.lock().unwrap();
        assert!(acked.iter().all(|event| stored.contains(event)), "what was acknowledged is there, in its place");
        eprintln!("{} events acknowledged, {} stored, {} readers", acked.len(), feed.len(), received.len());
    }
}

/// Publishes batches of one to four events on changing channels, each batch until acknowledged.
async fn publish(world: Arc<World>, publisher: usize) {
    for n in 0_usize.. {
        if world.is_stopped() {
            return;
        }
        let run = format!("r{}", (publisher + n) % RUNS);
        let events = (0..=(n % 4)).map(|k| event(&format!("p{publisher}-{n}-{k}"))).collect();
        let request = PublishRequest { run_id: run.clone(), events, expected_last_seq: None };
        for attempt in 0_usize.. {
            let mut client = world.events(publisher + n + attempt);
            let answer = timeout(GUARD / 6, client.publish(request.clone())).await;
            match answer {
                Ok(Ok(answer)) => {
                    world.acknowledge(&run, &answer.into_inner().events);
                    break;
                }
                Ok(Err(status)) => may_be_repeated(&status),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub fn event(id: &str) -> NewEvent {
    let json = format!("{{\"id\":\"{id}\",\"nul\":\"\\u0000\",\"big\":12345678901234567890123}}");
    NewEvent {
        event_id: id.to_owned(),
        r#type: "step".to_owned(),
        payload: Some(Payload { variant: Some(payload::Variant::Json(json)), ..Payload::default() }),
        ..NewEvent::default()
    }
}

/// Panics at an error that is not transient.
pub fn may_be_repeated(status: &Status) {
    // An error of the transport itself has no details.
    let of_transport = status.details().is_empty();
    let passes = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded);
    assert!(passes || of_transport, "{status:?}");
}
