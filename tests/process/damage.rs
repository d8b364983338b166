//! A flipped bit in a stored event: the event is never served, a request for the event reports the damage, and other
//! events are not affected. Promises 7 and 8.

use std::fs;

use runlog::pb;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::client::{self, Events};
use crate::cluster::Database;
use crate::command::{self, Ran};
use crate::harness::{Data, Server, eventually, within};

/// Three runs of equal length, each event in its own commit. The ids are `RUN-SEQ`.
const RUNS: [&str; 3] = ["bad", "good", "late"];
const EVENTS: u64 = 6;

/// The event with the damaged payload.
const DAMAGED: u64 = 4;

async fn fill(server: &Server) {
    let mut events = server.events().await;
    for seq in 1..=EVENTS {
        for run in RUNS {
            let event = client::event(&format!("{run}-{seq}"), "step", &format!(r#"{{"text":"mark-{run}-{seq}"}}"#));
            events.publish(client::publish(run, vec![event])).await.unwrap();
        }
    }
}

/// The code, the reason, the run and the seq of an error for damage.
fn damage(status: &tonic::Status) -> (Code, String, String, String) {
    let info = status.get_details_error_info().expect("an ErrorInfo");
    let fact = |name: &str| info.metadata.get(name).cloned().unwrap_or_default();
    (status.code(), info.reason.clone(), fact("run_id"), fact("seq"))
}

fn named() -> (Code, String, String, String) {
    (Code::DataLoss, "EVENT_DAMAGED".to_owned(), "bad".to_owned(), DAMAGED.to_string())
}

async fn grpc_serves_all_but_the_damage(events: &mut Events) {
    for run in ["good", "late"] {
        assert_eq!(client::list(events, run).await.len() as u64, EVENTS, "{run}");
    }
    assert_eq!(damage(&client::list_after(events, "bad", 0).await.unwrap_err()), named(), "a listing");
    assert_eq!(client::list_after(events, "bad", DAMAGED).await.unwrap().len() as u64, EVENTS - DAMAGED, "behind it");

    let mut frames = events.subscribe(client::follow("bad")).await.unwrap().into_inner();
    let mut seqs = Vec::new();
    let status = loop {
        match client::frame(&mut frames).await {
            Ok(frame) => {
                if let Some(pb::subscribe_response::Frame::Events(batch)) = frame.frame {
                    seqs.extend(batch.events().unwrap().iter().map(|event| event.seq));
                }
            }
            Err(status) => break status,
        }
    };
    assert_eq!(damage(&status), named(), "a subscription");
    assert!(seqs.into_iter().eq(1..DAMAGED), "what lies before it is sent");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata["resume_cursor"], (DAMAGED - 1).to_string());

    let mut frames = events.subscribe(client::follow("good")).await.unwrap().into_inner();
    assert_eq!(client::caught_up(&mut frames).await.len() as u64, EVENTS);

    let mut frames = events.subscribe(client::follow_all("")).await.unwrap().into_inner();
    let status = loop {
        match client::frame(&mut frames).await {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!((status.code(), damage(&status).1.as_str()), (Code::DataLoss, "EVENT_DAMAGED"), "the feed");

    // A retry of a damaged event cannot be compared with the stored event; any other publish works.
    let repeat = client::event(&format!("bad-{DAMAGED}"), "step", &format!(r#"{{"text":"mark-bad-{DAMAGED}"}}"#));
    let refused = events.publish(client::publish("bad", vec![repeat])).await.unwrap_err();
    assert_eq!((refused.code(), damage(&refused).1.as_str()), (Code::DataLoss, "EVENT_DAMAGED"));
    for run in RUNS {
        client::publish_one(events, run, "step", "{}").await;
    }
}

async fn rest_serves_all_but_the_damage(server: &Server) {
    let get = async |path: &str| {
        let answer = within(path, reqwest::get(format!("{}{path}", server.url()))).await.unwrap();
        (answer.status().as_u16(), within(path, answer.text()).await)
    };
    for path in
        ["/v1/runs/bad/events?cursor=3", "/api/runs/bad/events", "/api/structure-runs/bad/events", "/api/events/bad-4"]
    {
        let (status, body) = get(path).await;
        let body = body.unwrap();
        assert_eq!(status, 500, "{path}: {body}");
        assert!(body.to_ascii_lowercase().contains("event_damaged") || body.contains("damaged in the store"), "{body}");
        assert!(!body.contains("mark-bad"), "{body}");
    }
    for path in ["/v1/runs/good/events", "/api/runs/good/events", "/api/structure-runs/good/events"] {
        assert_eq!(get(path).await.0, 200, "{path}");
    }
    // An event stream that starts at the damage fails at once; other streams are cut there.
    assert_eq!(get("/api/runs/bad/events/stream?cursor=3").await.0, 500);
    let (status, body) = get("/api/runs/bad/events/stream").await;
    assert!(status == 200 && body.is_err(), "{status} {body:?}");
}

async fn is_well(server: &Server) {
    let mut health = HealthClient::new(server.channel().await);
    let answer = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    assert_eq!(reqwest::get(format!("{}/health/ready", server.url())).await.unwrap().status(), 200);
}

fn names_it(checked: Ran) {
    assert_eq!(checked.code, Some(78), "{checked:?}");
    let line = checked.stdout.lines().find(|line| line.contains("checksums")).expect("a line about checksums");
    assert!(line.starts_with("failed") && line.contains("1 damaged") && line.contains("\"bad\""), "{line}");
}

/// Asserts all promises for a server whose run `bad` has a damaged event.
async fn only_the_damage_is_refused(server: &Server) {
    let mut events = server.events().await;
    grpc_serves_all_but_the_damage(&mut events).await;
    rest_serves_all_but_the_damage(server).await;
    is_well(server).await;
    let log = server.says("are not served").await;
    assert!(log.contains(r#""run":"bad","seq":4"#), "the log names run and seq: {log}");
    assert!(server.metric("runlog_damaged_reads_total").await > 0.0);
}

#[tokio::test]
async fn a_flipped_bit_in_a_sqlite_file_harms_its_event_only_in_every_api_and_check_finds_it() {
    let data = Data::new();
    for options in [&["--flush-entries", "1000000"][..], &["--flush-entries", "1"]] {
        let _ = fs::remove_file(data.file());
        let server = Server::with(&data.file(), options).await;
        fill(&server).await;
        server.terminate().await;
        server.ended().await;
        let mut bytes = fs::read(data.file()).unwrap();
        let mark = format!("mark-bad-{DAMAGED}");
        let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(mark.as_bytes())).collect();
        assert_eq!(places.len(), 1);
        bytes[places[0]] ^= 0x04;
        fs::write(data.file(), bytes).unwrap();

        names_it(command::run("", &["check", "--deep", "--data", data.file().to_str().unwrap()]).await);
        let server = Server::with(&data.file(), &[options, &["--scrub-bytes-per-second", "1000000"]].concat()).await;
        only_the_damage_is_refused(&server).await;
        server.says("the scrub found damage").await;
        eventually("the scrub's metric", async || server.metric("runlog_scrub_damaged_rows").await == 1.0).await;
        names_it(command::run("", &["check", "--deep", "--data", data.file().to_str().unwrap()]).await);
        server.terminate().await;
        server.ended().await;
    }
}

#[tokio::test]
async fn a_changed_row_in_postgresql_harms_its_event_only_in_every_api_and_check_finds_it() {
    let Some(database) = Database::create().await else { return };
    let server = Server::on(&database.url()).await;
    fill(&server).await;
    let change =
        format!("UPDATE events SET payload = replace(payload::text, 'm', 'i')::json WHERE event_id = 'bad-{DAMAGED}'");
    database.execute(&change).await;
    names_it(command::run("", &["check", "--deep", "--store", &database.url()]).await);
    only_the_damage_is_refused(&server).await;

    // Changes any column of the row, and restores each.
    for (column, changed) in [
        ("seq", "seq + 64"),
        ("event_type", "'stop'"),
        ("recorded_ns", "recorded_ns # 1"),
        ("occurred_s", "occurred_s # 256"),
        ("origin", "3 - origin"),
        ("status", "status # 1"),
        ("agent_name", "'a'"),
        ("given", "NOT given"),
        ("bytes", "bytes + 1"),
        ("sent_seconds", "0"),
        ("pos", "pos + 1024"),
        ("run", "(SELECT max(run) FROM runs)"),
    ] {
        let change = format!("UPDATE events SET {column} = {changed} WHERE event_id = 'good-2'");
        let keep = "CREATE TABLE kept AS SELECT * FROM events WHERE event_id = 'good-2'";
        let free = "ALTER TABLE events DROP CONSTRAINT IF EXISTS events_run_seq";
        database.execute(&format!("{keep}; {free}; {change}")).await;
        let checked = command::run("", &["check", "--deep", "--store", &database.url()]).await;
        assert!(checked.stdout.contains("2 damaged"), "{column}: {checked:?}");
        database
            .execute(
                "DELETE FROM events WHERE event_id = 'good-2'; INSERT INTO events SELECT * FROM kept; DROP TABLE kept",
            )
            .await;
    }
}

#[tokio::test]
async fn rows_without_a_checksum_are_served_and_counted() {
    let Some(database) = Database::create().await else { return };
    let server = Server::on(&database.url()).await;
    fill(&server).await;
    database.execute("UPDATE events SET checksum = NULL WHERE event_id LIKE 'bad-%'").await;
    assert_eq!(client::list(&mut server.events().await, "bad").await.len() as u64, EVENTS);
    let checked = command::run("", &["check", "--deep", "--store", &database.url()]).await.succeeds();
    assert!(checked.contains("18 rows of the log were read, 6 of an older version have none"), "{checked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_damaged_as_it_is_stored_keeps_no_replica_from_announcing_what_follows() {
    let Some(database) = Database::create().await else { return };
    let (one, other) = (Server::on(&database.url()).await, Server::on(&database.url()).await);
    fill(&one).await;
    database
        .execute(
            "CREATE FUNCTION harm() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN NEW.checksum := NEW.checksum # 1; RETURN NEW; END $$; \
             CREATE TRIGGER harm BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.event_type = 'bad') EXECUTE FUNCTION harm()",
        )
        .await;
    let mut followed = other.events().await;
    let mut of_good = followed.subscribe(client::follow("good")).await.unwrap().into_inner();
    let mut of_bad = followed.subscribe(client::follow("bad")).await.unwrap().into_inner();
    assert_eq!(client::caught_up(&mut of_good).await.len() as u64, EVENTS);
    assert_eq!(client::caught_up(&mut of_bad).await.len() as u64, EVENTS);
    let mut events = one.events().await;
    for _ in 0..3 {
        client::publish_one(&mut events, "bad", "bad", "{}").await;
        client::publish_one(&mut events, "good", "step", "{}").await;
    }
    let mut seqs = Vec::new();
    while seqs.last() != Some(&(EVENTS + 3)) {
        let frame = client::frame(&mut of_good).await.unwrap().frame;
        if let Some(pb::subscribe_response::Frame::Events(batch)) = frame {
            seqs.extend(batch.events().unwrap().iter().map(|event| event.seq));
        }
    }
    let status = loop {
        match client::frame(&mut of_bad).await {
            Ok(frame) => assert!(!matches!(frame.frame, Some(pb::subscribe_response::Frame::Events(_)))),
            Err(status) => break status,
        }
    };
    assert_eq!(damage(&status).3, (EVENTS + 1).to_string());
    is_well(&other).await;
}

#[tokio::test]
async fn programs_of_the_schemas_before_go_on_storing_beside_this_one() {
    let Some(database) = Database::create().await else { return };
    let server = Server::on(&database.url()).await;
    fill(&server).await;
    // The calls of version 0.1.0 and of the schema after 0.1.0: without checksums, or also without the doubles of
    // times.
    for (seq, doubles) in [(EVENTS + 1, ""), (EVENTS + 2, "NULL::double precision[], ")] {
        let append = format!(
            "SELECT append_events(ARRAY[run], ARRAY[last_seq], ARRAY[updated_at], ARRAY[last_seq + 1], ARRAY[updated_at], \
             NULL, NULL, ARRAY[run], ARRAY[last_seq + 1], ARRAY[0::bigint], ARRAY[0::bigint], ARRAY[0], ARRAY[0], \
             ARRAY[100], ARRAY[2::smallint], ARRAY[1::smallint], ARRAY[true], ARRAY[false], ARRAY['old-{seq}'], \
             ARRAY['step'], ARRAY[NULL::text], ARRAY['{{}}'::json], {doubles}NULL::text, NULL::text) \
             FROM runs WHERE run_id = 'good'"
        );
        database.execute(&append).await;
        let found = client::list(&mut server.events().await, "good").await;
        assert_eq!(found.last().map(|event| (event.seq, event.event_id.clone())), Some((seq, format!("old-{seq}"))));
    }
}
