//! A store restored to an older state: cursors of the lost part are refused, and no event is served as if it followed
//! the lost part. Promise 5.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use runlog::pb::subscribe_response::Frame;
use runlog::pb::{self, list_events_request};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use crate::client::{self, Events};
use crate::cluster::{Cluster, Stop};
use crate::harness::{Data, Server, eventually, within};

/// Publishes events in one request; returns the last seq.
pub async fn publish(events: &mut Events, run: &str, text: &str, count: usize) -> u64 {
    let event = |n: usize| client::event("", "step", &format!(r#"{{"text":"{text}-{n}"}}"#));
    let request = client::publish(run, (0..count).map(event).collect());
    events.publish(request).await.expect("an acknowledgement").into_inner().events.last().unwrap().seq
}

/// Lists one run, or all runs.
fn list(run: Option<&str>, cursor: &str, epoch: &str) -> pb::ListEventsRequest {
    let scope = match run {
        Some(run) => list_events_request::Scope::RunId(run.to_owned()),
        None => list_events_request::Scope::AllRuns(pb::AllRuns {}),
    };
    pb::ListEventsRequest {
        scope: Some(scope),
        cursor: cursor.to_owned(),
        epoch: epoch.to_owned(),
        page_size: 1_000,
        payload_format: pb::PayloadFormat::Json as i32,
        ..Default::default()
    }
}

/// Cursor and epoch of the end.
pub async fn end(events: &mut Events, run: Option<&str>) -> (String, String) {
    let page = events.list_events(list(run, "", "")).await.unwrap().into_inner();
    assert!(!page.has_more);
    (page.next_cursor, page.epoch)
}

/// The feed as far as it goes, with its last cursor and epoch.
pub async fn feed(events: &mut Events) -> (Vec<pb::Event>, (String, String)) {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = within("a page", events.list_events(list(None, &cursor, ""))).await.unwrap().into_inner();
        found.extend(page.events);
        cursor = page.next_cursor;
        if !page.has_more {
            return (found, (cursor, page.epoch));
        }
    }
}

/// The last cursor common to both histories, from a `HISTORY_LOST` error.
fn agreed(status: &Status) -> String {
    let info = status.get_details_error_info().expect("an ErrorInfo");
    assert_eq!((status.code(), info.reason.as_str()), (Code::OutOfRange, "HISTORY_LOST"), "{status:?}");
    info.metadata.get("agreed_cursor").cloned().expect("where both agree")
}

/// Asserts that neither listing nor subscribing accepts the cursor. Returns the last common cursor.
pub async fn is_lost(events: &mut Events, run: Option<&str>, (cursor, epoch): &(String, String)) -> String {
    let listed = agreed(&events.list_events(list(run, cursor, epoch)).await.unwrap_err());
    let follow = match run {
        Some(run) => client::follow_from(run, cursor),
        None => client::follow_all(cursor),
    };
    let followed = events.subscribe(pb::SubscribeRequest { epoch: epoch.clone(), ..follow }).await.unwrap_err();
    assert_eq!(agreed(&followed), listed);
    listed
}

/// The texts after a cursor.
pub async fn texts(events: &mut Events, run: Option<&str>, cursor: &str, epoch: &str) -> Vec<String> {
    let page = events.list_events(list(run, cursor, epoch)).await.unwrap().into_inner();
    page.events.iter().map(|event| client::json_of(event).to_owned()).collect()
}

#[tokio::test]
async fn an_older_sqlite_file_put_back_refuses_cursors_of_what_it_lacks_with_where_both_agree() {
    let (data, copy) = (Data::new(), Data::new());
    let publish_in = async |text: &str| {
        let server = Server::start(&data.file()).await;
        let mut events = server.events().await;
        publish(&mut events, "r", text, 3).await;
        publish(&mut events, text, text, 2).await;
        let ends = (end(&mut events, Some("r")).await, end(&mut events, None).await);
        server.terminate().await;
        server.ended().await;
        ends
    };
    let (kept_in_run, kept_in_feed) = publish_in("kept").await;
    fs::copy(data.file(), copy.file()).unwrap();
    // Across two starts.
    publish_in("lost").await;
    let (lost_in_run, lost_in_feed) = publish_in("lost-too").await;
    fs::copy(copy.file(), data.file()).unwrap();
    let (new_in_run, new_in_feed) = publish_in("new").await;

    let server = Server::start(&data.file()).await;
    let mut events = server.events().await;
    assert_eq!(is_lost(&mut events, Some("r"), &lost_in_run).await, "3");
    let agreed = is_lost(&mut events, None, &lost_in_feed).await;
    assert_eq!(texts(&mut events, None, &agreed, "").await.len(), 5, "what is new");
    // The common part and newer events are served.
    for (cursor, epoch) in [&kept_in_run, &("3".to_owned(), lost_in_run.1.clone())] {
        assert!(texts(&mut events, Some("r"), cursor, epoch).await[0].contains("new-0"));
    }
    assert_eq!(texts(&mut events, None, &kept_in_feed.0, &kept_in_feed.1).await.len(), 5);
    assert_eq!(texts(&mut events, Some("r"), &new_in_run.0, &new_in_run.1).await.len(), 0);
    assert_eq!(texts(&mut events, None, &new_in_feed.0, "").await.len(), 0);
    // A cursor without an epoch is not checked against the history.
    assert_eq!(texts(&mut events, Some("r"), "6", "").await.len(), 0);
}

/// A TCP forwarder whose target can be changed.
struct Forwarder {
    port: u16,
    to: Arc<AtomicU16>,
}

impl Forwarder {
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU16::new(to)));
        let target = Arc::clone(&to);
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let port = target.load(Ordering::SeqCst);
                connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { port, to }
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

/// The texts of the next frames up to this number, or the error of a cut stream.
async fn sent(frames: &mut Streaming<pb::SubscribeResponse>, count: usize) -> Result<Vec<String>, Status> {
    let mut sent = Vec::new();
    while sent.len() < count {
        if let Some(Frame::Events(batch)) = client::frame(frames).await?.frame {
            sent.extend(batch.events().unwrap().iter().map(|event| client::json_of(event).to_owned()));
        }
    }
    Ok(sent)
}

/// A server on a primary with a standby that has all of `kept`; the runs are `r` and `other`.
struct Replicated {
    primary: Cluster,
    standby: Cluster,
    forwarder: Forwarder,
    server: Server,
    events: Events,
}

impl Replicated {
    async fn start(is_synchronous: bool) -> Option<Self> {
        let primary = Cluster::start()?;
        let standby = primary.standby();
        if is_synchronous {
            primary.set("synchronous_standby_names = '*'").await;
        }
        let forwarder = Forwarder::start(primary.port()).await;
        let server = Server::on(&forwarder.url()).await;
        let mut events = server.events().await;
        publish(&mut events, "r", "kept", 5).await;
        publish(&mut events, "other", "kept", 2).await;
        standby.has_all_of(&primary).await;
        Some(Self { primary, standby, forwarder, server, events })
    }

    async fn follow(&mut self, follow: pb::SubscribeRequest) -> Streaming<pb::SubscribeResponse> {
        let follow = pb::SubscribeRequest { payload_format: pb::PayloadFormat::Json as i32, ..follow };
        self.events.subscribe(follow).await.unwrap().into_inner()
    }

    async fn fail_over(&mut self) {
        self.primary.stop(Stop::Immediate);
        self.standby.promote();
        self.forwarder.to.store(self.standby.port(), Ordering::SeqCst);
        let mut events = self.server.events().await;
        eventually("the promoted standby", async || {
            events.publish(client::publish("awake", vec![client::event("awake", "step", "{}")])).await.is_ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_that_lacks_commits_cuts_who_has_read_them_and_refuses_their_cursors() {
    let Some(mut stores) = Replicated::start(false).await else { return };
    stores.standby.leave_behind().await;
    let mut of_run = stores.follow(client::follow("r")).await;
    let mut of_other = stores.follow(client::follow("other")).await;
    let mut of_feed = stores.follow(client::follow_all("")).await;
    let kept = end(&mut stores.events, Some("r")).await;
    assert_eq!(publish(&mut stores.events, "r", "lost", 5).await, 10, "acknowledged");
    sent(&mut of_run, 10).await.unwrap();
    sent(&mut of_other, 2).await.unwrap();
    sent(&mut of_feed, 12).await.unwrap();
    let lost = [end(&mut stores.events, Some("r")).await, end(&mut stores.events, None).await];

    stores.fail_over().await;
    assert_eq!(agreed(&within("a cut", sent(&mut of_run, 1)).await.unwrap_err()), "5");
    let agreed_in_feed = agreed(&within("a cut", sent(&mut of_feed, 1)).await.unwrap_err());
    assert_eq!(publish(&mut stores.events, "r", "new", 5).await, 10, "the seqs that were lost are given again");
    publish(&mut stores.events, "other", "new", 1).await;
    assert!(sent(&mut of_other, 1).await.unwrap()[0].contains("new"), "who has read nothing of it goes on");

    // A new replica knows the new history too.
    let late = Server::on(&stores.forwarder.url()).await;
    for mut events in [stores.server.events().await, late.events().await] {
        assert_eq!(is_lost(&mut events, Some("r"), &lost[0]).await, "5");
        assert_eq!(is_lost(&mut events, None, &lost[1]).await, agreed_in_feed);
        for (cursor, epoch) in [("5", lost[0].1.as_str()), ("5", "")] {
            let after = texts(&mut events, Some("r"), cursor, epoch).await;
            assert!(after.len() == 5 && after.iter().all(|text| text.contains("new")), "{after:?}");
        }
        assert_eq!(texts(&mut events, None, &agreed_in_feed, "").await.len(), 7);
        assert_eq!(texts(&mut events, Some("r"), &kept.0, &kept.1).await.len(), 5);
        let (cursor, epoch) = end(&mut events, Some("r")).await;
        assert_eq!(texts(&mut events, Some("r"), &cursor, &epoch).await.len(), 0);
    }
    stores.server.says("new epochs of the feeds begin").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_that_confirmed_each_commit_has_all_and_readers_go_on() {
    let Some(mut stores) = Replicated::start(true).await else { return };
    let mut of_run = stores.follow(client::follow("r")).await;
    let mut of_feed = stores.follow(client::follow_all("")).await;
    publish(&mut stores.events, "r", "confirmed", 5).await;
    sent(&mut of_run, 10).await.unwrap();
    sent(&mut of_feed, 12).await.unwrap();
    let ends = [end(&mut stores.events, Some("r")).await, end(&mut stores.events, None).await];
    stores.fail_over().await;
    assert_eq!(publish(&mut stores.events, "r", "new", 1).await, 11);
    assert!(sent(&mut of_run, 1).await.unwrap()[0].contains("new"));
    assert!(sent(&mut of_feed, 2).await.unwrap()[1].contains("new"));
    assert!(texts(&mut stores.events, Some("r"), &ends[0].0, &ends[0].1).await[0].contains("new"));
    assert_eq!(texts(&mut stores.events, None, &ends[1].0, "").await.len(), 2);
}
