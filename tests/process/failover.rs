//! A PostgreSQL primary that is lost beneath publishers and a follower: what its standby has, and what the archive of its
//! write-ahead log. Promises 1 to 5.

use runlog::pb::{self, subscribe_response::Frame};

use crate::client::{self, Events};
use crate::cluster::{Cluster, Stop};
use crate::command::{json_lines, run};
use crate::harness::{Process, Server, eventually, within};
use crate::history::{end, feed, is_lost, publish, texts};
use crate::load::{Load, kill_after};
use crate::transfer::NOWHERE;

/// Acknowledged events before the loss, and after it.
const BEFORE: u64 = 1_500;
const AFTER: u64 = 500;

/// Options of a server that waits for PostgreSQL for short.
const IMPATIENT: [&str; 6] =
    ["--pg-statement-timeout-ms", "500", "--pg-retry-ms", "500", "--pg-connect-timeout-ms", "1000"];

/// The events of all runs that a follower has received, and its place in the feed.
#[derive(Default)]
struct Follower {
    received: Vec<(String, u64)>,
    cursor: String,
    epoch: String,
}

impl Follower {
    /// Follows from the last cursor until the stream is cut, or to the end of what is stored.
    async fn follow(mut self, mut events: Events, to_the_end: bool) -> Self {
        let request = pb::SubscribeRequest { epoch: self.epoch.clone(), ..client::follow_all(&self.cursor) };
        let mut frames = within("a subscription", events.subscribe(request)).await.unwrap().into_inner();
        while let Ok(Some(frame)) = within("a frame", frames.message()).await {
            self.cursor = frame.cursor;
            if !frame.epoch.is_empty() {
                self.epoch = frame.epoch;
            }
            match frame.frame.unwrap() {
                Frame::Events(batch) => {
                    let batch = batch.events().unwrap().into_iter();
                    self.received.extend(batch.map(|event| (event.run_id, event.seq)));
                }
                Frame::CaughtUp(_) if to_the_end => break,
                _ => {}
            }
        }
        self
    }

    /// Resumes on this server, and compares all that it has received with the feed.
    async fn resumes_without_gap_or_duplicate(self, server: &Server) -> Self {
        let follower = self.follow(server.events().await, true).await;
        let (stored, _) = feed(&mut server.events().await).await;
        let stored: Vec<_> = stored.into_iter().map(|event| (event.run_id, event.seq)).collect();
        assert!(stored.len() as u64 >= BEFORE);
        assert!(
            follower.received == stored,
            "{} events were received, {} stored",
            follower.received.len(),
            stored.len()
        );
        follower
    }
}

/// Publishes under load with this `synchronous_commit` of the server until the primary's machine dies, and goes on with
/// the standby.
async fn survives_the_loss_of_the_primary(synchronous_commit: &str) {
    let Some(primary) = Cluster::start() else { return };
    let standby = primary.standby();
    primary.set("synchronous_standby_names = 'ANY 1 (*)'").await;
    primary.set(&format!("synchronous_commit = {synchronous_commit}")).await;
    let server = Server::on(&primary.url("postgres")).await;
    let following = tokio::spawn(Follower::default().follow(server.events().await, false));
    let mut load = Load::new();
    load.publish(server, async |server, mut acked| {
        within("that many acknowledgements", acked.wait_for(|acked| *acked >= BEFORE)).await.unwrap();
        primary.stop(Stop::Kill);
        server.kill().await;
    })
    .await;
    let follower = following.await.unwrap();
    standby.promote();

    let server = Server::on(&standby.url("postgres")).await;
    load.verify(&server, true).await;
    let follower = follower.resumes_without_gap_or_duplicate(&server).await;
    let following = tokio::spawn(follower.follow(server.events().await, false));
    load.publish(server, async |server, acked| kill_after(AFTER, server, acked).await).await;
    let server = Server::on(&standby.url("postgres")).await;
    load.verify(&server, true).await;
    following.await.unwrap().resumes_without_gap_or_duplicate(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_promoted_after_the_death_of_its_primary_has_all_that_was_acknowledged_and_readers_resume() {
    survives_the_loss_of_the_primary("remote_apply").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weaker_synchronous_commit_of_the_server_does_not_weaken_what_an_acknowledgement_says() {
    survives_the_loss_of_the_primary("local").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_while_no_standby_confirms_and_nobody_reads_it() {
    let Some(primary) = Cluster::start() else { return };
    let standby = primary.standby();
    primary.set("synchronous_standby_names = '*'").await;
    let url = primary.url("postgres");
    let server = Server::over(["--store", &url], &IMPATIENT, &[]).await;
    let mut events = server.events().await;
    publish(&mut events, "r", "confirmed", 1).await;
    standby.stop(Stop::Fast);
    let waiting = client::publish("r", vec![client::event("waiting", "step", "{}")]);
    let refused = within("an answer", events.publish(waiting.clone())).await.unwrap_err();
    assert_eq!(client::refusal(&refused).1, "OUTCOME_UNKNOWN", "{refused:?}");
    assert_eq!(texts(&mut events, Some("r"), "", "").await.len(), 1, "what no standby has is shown to nobody");
    standby.resume();
    let mut acked = None;
    eventually("a standby that confirms", async || {
        acked = events.publish(waiting.clone()).await.ok();
        acked.is_some()
    })
    .await;
    let acked = acked.unwrap().into_inner().events.remove(0);
    assert_eq!((acked.seq, acked.duplicate), (2, true), "the first attempt was stored once");
    assert_eq!(texts(&mut events, Some("r"), "1", "").await, ["{}"]);
}

/// Result and detail of the check of the standbys.
async fn standbys(url: &str) -> (String, String) {
    let ran = run(NOWHERE, &["check", "--json", "--listen", "127.0.0.1:0", "--store", url]).await;
    let lines = json_lines(&ran.stdout);
    let line = lines.iter().find(|line| line["check"] == "standbys").unwrap_or_else(|| panic!("{ran:?}"));
    let text = |name: &str| line[name].as_str().unwrap().to_owned();
    (text("result"), text("detail"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_start_and_check_say_what_the_standbys_confirm() {
    let Some(primary) = Cluster::start() else { return };
    let url = primary.url("postgres");
    assert_eq!(standbys(&url).await.0, "ok", "nobody to promote");
    let standby = primary.standby();
    let check_says = async |result: &str, words: &[&str]| {
        eventually(&format!("{result}: {words:?}"), async || {
            let (found, detail) = standbys(&url).await;
            found == result && words.iter().all(|word| detail.contains(word))
        })
        .await;
    };
    const MAY_LACK: &str = "an asynchronous standby that is promoted may lack acknowledged events";
    check_says("warning", &["walreceiver (async)", MAY_LACK]).await;
    let server = Server::on(&url).await;
    assert!(server.log().contains(MAY_LACK), "{}", server.log());
    server.kill().await;

    primary.set("synchronous_standby_names = '*'").await;
    check_says("ok", &["walreceiver (sync)", "commits wait for \"*\""]).await;
    let server = Server::over(["--store", &url], &IMPATIENT, &[]).await;
    assert!(!server.log().contains("may lack"), "{}", server.log());
    let mut events = server.events().await;
    assert_eq!(publish(&mut events, "r", "confirmed", 1).await, 1);

    standby.stop(Stop::Fast);
    check_says("warning", &["attached: none", "publishes wait until one confirms them"]).await;
    // As after the promotion of a standby that has taken over the setting: a new lineage, whose epoch nobody confirms.
    primary.stop(Stop::Immediate);
    primary.resume();
    let refused = within("an answer", client::list_after(&mut events, "r", 0)).await;
    assert_eq!(client::refusal(&refused.unwrap_err()).1, "STORE_UNAVAILABLE");
    let (status, log) = Process::over(["--store", &url], &IMPATIENT, &[]).ended().await;
    assert!(!status.success() && log.contains("attach one, or empty it"), "{log}");
    primary.set("synchronous_standby_names = ''").await;
    eventually("an answer", async || client::list_after(&mut events, "r", 0).await.is_ok()).await;
    assert_eq!(publish(&mut events, "r", "alone", 1).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_recovered_from_its_archive_has_what_was_archived_and_refuses_cursors_of_the_rest() {
    let Some(primary) = Cluster::start() else { return };
    primary.archive();
    let server = Server::on(&primary.url("postgres")).await;
    let mut events = server.events().await;
    publish(&mut events, "r", "in-the-backup", 3).await;
    let recovered = primary.base_backup(&[]);
    publish(&mut events, "r", "archived", 3).await;
    let kept = [end(&mut events, Some("r")).await, end(&mut events, None).await];
    primary.has_archived().await;
    assert_eq!(publish(&mut events, "r", "lost", 4).await, 10, "acknowledged");
    let lost = [end(&mut events, Some("r")).await, end(&mut events, None).await];
    primary.stop(Stop::Kill);
    server.kill().await;

    recovered.recover_from(&primary).await;
    let server = Server::on(&recovered.url("postgres")).await;
    let mut events = server.events().await;
    assert_eq!(texts(&mut events, Some("r"), "", "").await.len(), 6);
    assert_eq!(publish(&mut events, "r", "new", 4).await, 10, "the seqs that were lost are given again");
    assert_eq!(is_lost(&mut events, Some("r"), &lost[0]).await, "6");
    let agreed = is_lost(&mut events, None, &lost[1]).await;
    for after in [
        texts(&mut events, Some("r"), &kept[0].0, &kept[0].1).await,
        texts(&mut events, None, &kept[1].0, &kept[1].1).await,
        texts(&mut events, None, &agreed, "").await,
    ] {
        assert!(after.len() == 4 && after.iter().all(|text| text.contains("new")), "{after:?}");
    }
}
