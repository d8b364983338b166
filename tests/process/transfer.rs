//! An exported and imported log is the same log: between both stores, from a server under load, and across SIGKILL in
//! the middle.

use std::path::{Path, PathBuf};

use runlog::pb;
use tokio::sync::watch;

use crate::client;
use crate::cluster::Database;
use crate::command::{Ran, run};
use crate::harness::{Data, Process, Server, eventually};
use crate::rng::Rng;

/// An address without a server.
pub const NOWHERE: &str = "http://127.0.0.1:1";

/// The lines of an export without the first, which names the store.
pub fn body(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let (header, body) = text.split_once('\n').unwrap();
    assert!(header.starts_with("{\"runlog_export\":1,\"feed\":\""), "{header}");
    body.to_owned()
}

/// Location and id of an event.
#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
struct Place {
    run_id: String,
    seq: u64,
    event_id: String,
}

impl Place {
    fn of(event: &pb::Event) -> Self {
        Self { run_id: event.run_id.clone(), seq: event.seq, event_id: event.event_id.clone() }
    }

    /// All lines without the trailer. Payloads are skipped: some hold numbers that no reader can represent.
    fn all(body: &str) -> Vec<Self> {
        let (events, _trailer) = body.trim_end().rsplit_once('\n').unwrap();
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub async fn export(from: &[&str], to: &Path) -> Ran {
    run(NOWHERE, &[&["export", "--file", to.to_str().unwrap()], from].concat()).await
}

pub async fn import(file: &Path, into: &[&str]) -> Ran {
    run(NOWHERE, &[&["import", file.to_str().unwrap()], into].concat()).await
}

/// A payload that a careless program might change.
fn odd_payload(chance: &mut Rng) -> String {
    const ODD: [&str; 12] = [
        "{\"b\":1 , \"a\":12345678901234567890123, \"b\":2}",
        "{\n\t\"nul\":\"\\u0000\",\r\n \"lone\":\"\\ud800\" }",
        " {\"around\":1} ",
        "1e999",
        "-0.0",
        "null",
        "\"\u{2028}\u{7f}é\"",
        "[1.0, 1e2, 0.1E-7]",
        "{\"input\":\"kept\",\"metadata\":{\"x\":[{}]},\"sensitivity_tags\":[\"pii\"]}",
        "{\"run_id\":\"r\",\"seq\":1,\"payload\":{}}",
        "\n[]\n",
        "{\"\":{\"\":\"\"}}",
    ];
    ODD[usize::try_from(chance.within(0..ODD.len() as u64)).unwrap()].to_owned()
}

/// Interleaved runs of every kind, with every kind of id and payload. Returns their number.
async fn fill(server: &Server, chance: &mut Rng) -> usize {
    let (mut events, mut runs) = (server.events().await, server.runs().await);
    let create = pb::CreateRunRequest {
        run_id: "created".into(),
        idempotency_key: "order-17".into(),
        agent_name: "founder".into(),
        structure_id: "structure-1".into(),
        first_event: Some(pb::NewEvent { agent_name: "teller".into(), ..client::event("", "run.created", "{ }") }),
    };
    runs.create_run(create).await.unwrap();
    let lives: [(&str, &[(&str, &str)]); 6] = [
        ("created", &[("run.worker.started", "{\"to_status\":\"running\"}")]),
        (
            "waits",
            &[("run_start", "{}"), ("human_input_requested", "{\"question\":\"why?\",\"context\":{ \"x\": [1]}}")],
        ),
        (
            "ends",
            &[
                ("run_start", "{}"),
                ("run_end", "{\"output\":{\"z\":1, \"a\":2},\"total_tokens\":195,\"cost_usd\":0.1,\"model\":\"m\"}"),
                ("run_end", "{\"total_tokens\":5,\"cost_usd\":0.2}"),
                ("error", "{\"late\":true}"),
            ],
        ),
        (
            "fails",
            &[("StructureRunStarting", "{}"), ("StructureRunCompleted", "{\"status_detail\":{\"exit_code\":7}}")],
        ),
        ("cancelled", &[("run_start", "{}"), ("run.cancelled", "{}"), ("step", "{\"late\":1}")]),
        ("limited", &[("run.limit_exceeded", "{\"limitType\":\"tokens\"}")]),
    ];
    let longest = lives.iter().map(|(_, life)| life.len()).max().unwrap();
    for round in 0..longest + 20 {
        for (name, life) in lives {
            let mut batch: Vec<pb::NewEvent> =
                life.get(round).map(|(kind, payload)| client::event("", kind, payload)).into_iter().collect();
            for n in 0..chance.within(0..4) {
                // Ids of the producer, some of the same shape as the store's, and the same ids in each run.
                let id = match chance.within(0..4) {
                    0 => format!("given-{round}-{n}"),
                    1 => format!("00000000-0001-8000-8000-0000{round:04x}{n:04x}"),
                    _ => String::new(),
                };
                let seconds = i64::try_from(chance.within(0..4_000_000_000)).unwrap() - 2_000_000_000;
                let occurred_at = Some(prost_types::Timestamp { seconds, nanos: 123_456_789 });
                let agent_name = if n == 1 { "agent é".to_owned() } else { String::new() };
                let payload = odd_payload(chance);
                batch.push(pb::NewEvent { occurred_at, agent_name, ..client::event(&id, "step", &payload) });
            }
            if !batch.is_empty() {
                events.publish(client::publish(name, batch)).await.unwrap();
            }
        }
    }
    let large = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    client::publish_one(&mut events, "large", "step", &large).await;
    lives.len() + 1
}

async fn all_runs(server: &Server) -> Vec<pb::Run> {
    let request = pb::ListRunsRequest { page_size: 100, ..Default::default() };
    server.runs().await.list_runs(request).await.unwrap().into_inner().runs
}

async fn stop(server: Server) {
    server.terminate().await;
    assert_eq!(server.ended().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_goes_to_postgresql_and_back_without_a_difference() {
    let Some(database) = Database::create().await else { return };
    let (data, back) = (Data::new(), Data::new());
    let file = |name: &str| data.directory().join(name);
    let source = Server::start(&data.file()).await;
    let count = fill(&source, &mut Rng::new("a_log_goes_to_postgresql_and_back")).await;
    let runs = all_runs(&source).await;
    assert_eq!(runs.len(), count);
    let assigned = client::list(&mut source.events().await, "waits").await.remove(0);
    // From the server, and from its file after the stop.
    run(&source.url(), &["export", "-o", file("served").to_str().unwrap()]).await.succeeds();
    stop(source).await;
    export(&["--data", data.file().to_str().unwrap()], &file("first")).await.succeeds();
    assert_eq!(body(&file("first")), body(&file("served")));

    let url = database.url();
    import(&file("first"), &["--store", &url]).await.succeeds();
    export(&["--store", &url], &file("second")).await.succeeds();
    assert_eq!(body(&file("second")), body(&file("first")), "in PostgreSQL");
    let back_file = back.file();
    let back_file = back_file.to_str().unwrap();
    import(&file("second"), &["--data", back_file]).await.succeeds();
    export(&["--data", back_file], &file("third")).await.succeeds();
    assert_eq!(body(&file("third")), body(&file("first")), "in SQLite again");

    for server in [Server::on(&url).await, Server::start(&back.file()).await] {
        let names = |runs: &[pb::Run]| runs.iter().map(|run| run.run_id.clone()).collect::<Vec<_>>();
        let mut found = all_runs(&server).await;
        assert_eq!(names(&found), names(&runs), "in the order of their creation");
        assert_eq!(found, runs, "with all that their events add up to");
        // Ids given by the first store are known in the others.
        let mut events = server.events().await;
        let again = client::event(&assigned.event_id, &assigned.r#type, client::json_of(&assigned));
        let answer = events.publish(client::publish("waits", vec![again])).await.unwrap().into_inner();
        assert!(answer.events[0].duplicate && answer.events[0].seq == assigned.seq);
        // A run created under a key is found by the key.
        let create = pb::CreateRunRequest {
            run_id: "created".into(),
            idempotency_key: "order-17".into(),
            first_event: Some(pb::NewEvent { agent_name: "teller".into(), ..client::event("", "run.created", "{ }") }),
            ..Default::default()
        };
        assert!(server.runs().await.create_run(create).await.unwrap().into_inner().already_existed);
        // A cursor of the feed belongs to its store.
        let header = std::fs::read_to_string(file("first")).unwrap();
        let header: serde_json::Value = serde_json::from_str(header.lines().next().unwrap()).unwrap();
        let foreign = run(&server.url(), &["list", "--all", "--cursor", header["until"].as_str().unwrap()]).await;
        foreign.fails(65, &["CURSOR_INVALID", "another store"]);
        found.clear();
        stop(server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chosen_runs_are_exported_in_the_order_asked_for_and_imported_beside_others() {
    let (data, other) = (Data::new(), Data::new());
    let source = Server::start(&data.file()).await;
    fill(&source, &mut Rng::new("chosen_runs")).await;
    let file = data.directory().join("two");
    let chosen = ["export", "--run", "waits", "--run", "ends", "--run", "waits", "-o", file.to_str().unwrap()];
    run(&source.url(), &chosen).await.succeeds();
    let events = Place::all(&body(&file));
    let mut expected = client::list(&mut source.events().await, "waits").await;
    expected.extend(client::list(&mut source.events().await, "ends").await);
    assert_eq!(events, expected.iter().map(Place::of).collect::<Vec<_>>());
    // Into a store that has other runs, and the first events of one of these runs.
    let target = Server::start(&other.file()).await;
    client::publish_one(&mut target.events().await, "own", "step", "{}").await;
    stop(target).await;
    let part = data.directory().join("part");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&part, text.lines().take(5).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let into = ["--data", other.directory().join("runlog.db").to_str().unwrap().to_owned().leak()];
    let ran = import(&part, &[&into[..], &["--partial"]].concat()).await;
    assert!(ran.stderr.contains("4 events stored, 0 stored before, 1 runs"), "{ran:?}");
    ran.succeeds();
    let ran = import(&file, &into).await;
    let summary = format!("{} events stored, 4 stored before, 2 runs", events.len() - 4);
    assert!(ran.stderr.contains(&summary), "{summary}: {ran:?}");
    ran.succeeds();
    let target = Server::start(&other.file()).await;
    let (theirs, ours) = (all_runs(&source).await, all_runs(&target).await);
    assert_eq!(ours.len(), 3);
    for run in ours.iter().filter(|run| run.run_id != "own") {
        assert_eq!(Some(run), theirs.iter().find(|other| other.run_id == run.run_id));
        let mut events = (source.events().await, target.events().await);
        assert_eq!(client::list(&mut events.0, &run.run_id).await, client::list(&mut events.1, &run.run_id).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_export_while_publishers_write_is_the_log_up_to_its_beginning() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let (acks, stop_writing) = (watch::Sender::new(0u64), watch::Sender::new(false));
    let mut writers = Vec::new();
    for writer in 0..4 {
        let (mut events, acks, stop) = (server.events().await, acks.clone(), stop_writing.subscribe());
        writers.push(tokio::spawn(async move {
            for n in 0u64.. {
                if *stop.borrow() {
                    return;
                }
                let batch =
                    (0..n % 5 + 1).map(|i| client::event("", "step", &format!("[{writer}, {n}, {i}]"))).collect();
                events.publish(client::publish(&format!("r{}", n % 7), batch)).await.unwrap();
                acks.send_modify(|acks| *acks += n % 5 + 1);
            }
        }));
    }
    let mut files = Vec::new();
    for round in 0..3 {
        let before = *acks.borrow();
        acks.subscribe().wait_for(|acks| *acks >= before + 500).await.unwrap();
        let acked = *acks.borrow();
        let file = data.directory().join(format!("live-{round}"));
        run(&server.url(), &["export", "-o", file.to_str().unwrap()]).await.succeeds();
        files.push((acked, file));
    }
    stop_writing.send(true).unwrap();
    for writer in writers {
        writer.await.unwrap();
    }
    let all = data.directory().join("all");
    run(&server.url(), &["export", "-o", all.to_str().unwrap()]).await.succeeds();
    let all = body(&all);
    assert_eq!(all.lines().count() as u64, *acks.borrow() + 1);
    for (acked, file) in files {
        let text = body(&file);
        let (events, trailer) = text.trim_end().rsplit_once('\n').unwrap();
        assert!(trailer.starts_with("{\"runlog_export_end\":1"), "{trailer}");
        assert!(all.starts_with(&format!("{events}\n")), "a beginning of the whole log");
        assert!(events.lines().count() as u64 >= acked, "all that was acknowledged before it began");
    }
}

/// A large log; returns the number of events and the path of its export.
async fn large_log(data: &Data) -> (u64, PathBuf) {
    let server = Server::start(&data.file()).await;
    let mut events = server.events().await;
    let text = "x".repeat(300);
    for n in 0..60 {
        let batch =
            (0..500).map(|i| client::event("", "step", &format!("{{\"n\":{i},\"text\":\"{text}\"}}"))).collect();
        events.publish(client::publish(&format!("r{}", n % 9), batch)).await.unwrap();
    }
    stop(server).await;
    let whole = data.directory().join("whole");
    export(&["--data", data.file().to_str().unwrap()], &whole).await.succeeds();
    (30_000, whole)
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_killed_is_run_again_and_stores_each_event_once() {
    let (data, target) = (Data::new(), Data::new());
    let (count, whole) = large_log(&data).await;
    let path = target.file();
    let into = ["--data", path.to_str().unwrap()];
    let log = target.directory().join("runlog.db-wal");
    for more in 1..4u64 {
        let began = size(&log) + size(&path);
        let process = Process::spawn(&["import", whole.to_str().unwrap(), into[0], into[1]]);
        // In the middle: a part is stored, and much is not.
        let is_under_way = async || size(&log) + size(&path) > began + more * 100_000 || process.has_ended();
        eventually("a part of the import", is_under_way).await;
        process.kill().await;
    }
    let ran = import(&whole, &into).await;
    assert!(ran.stderr.contains("9 runs"), "{ran:?}");
    ran.succeeds();
    let copy = data.directory().join("copy");
    export(&into, &copy).await.succeeds();
    assert!(body(&copy) == body(&whole), "the same log");
    assert_eq!(body(&copy).lines().count() as u64, count + 1);
    // Once more: all events are stored.
    let again = import(&whole, &into).await;
    assert!(again.stderr.contains("0 events stored, 30,000 stored before, 9 runs"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_is_killed_or_cut_anywhere_is_gone_on_with() {
    let data = Data::new();
    let (_, whole) = large_log(&data).await;
    let expected = std::fs::read(&whole).unwrap();
    let file = data.directory().join("cut");
    let path = file.to_str().unwrap();
    let from = data.file();
    let from = ["--data", from.to_str().unwrap()];
    let process = Process::spawn(&["export", "-o", path, from[0], from[1]]);
    eventually("a part of the export", async || size(&file) > 1_000_000 || process.has_ended()).await;
    process.kill().await;
    let resume = async || run(NOWHERE, &["export", "-o", path, "--resume", from[0], from[1]]).await;
    resume().await.succeeds();
    assert!(std::fs::read(&file).unwrap() == expected);
    // Later events are not exported, since the header has the end of the export.
    let server = Server::start(&data.file()).await;
    client::publish_one(&mut server.events().await, "later", "step", "{}").await;
    stop(server).await;
    let first_line = expected.iter().position(|byte| *byte == b'\n').unwrap();
    let last_line = expected[..expected.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    let mut chance = Rng::new("an_export_that_is_killed_or_cut_anywhere");
    let somewhere = usize::try_from(chance.within(first_line as u64..last_line as u64)).unwrap();
    for cut in [first_line + 1, first_line + 20, somewhere, last_line, last_line + 1, expected.len() - 1] {
        std::fs::write(&file, &expected[..cut]).unwrap();
        resume().await.succeeds();
        assert!(std::fs::read(&file).unwrap() == expected, "cut at {cut} of {}", expected.len());
    }
    // A whole export gets what came since, also if that is cut off.
    std::fs::write(&file, &expected).unwrap();
    resume().await.succeeds();
    let continued = std::fs::read(&file).unwrap();
    assert!(continued.starts_with(&expected[..=last_line]), "nothing of it is written again");
    assert_eq!(body(&file).lines().count(), 30_002);
    for cut in [last_line + 1, last_line + 20, continued.len() - 10, continued.len()] {
        std::fs::write(&file, &continued[..cut]).unwrap();
        resume().await.succeeds();
        // Without a whole event of the second part the first is completed.
        let is_first_part = cut <= last_line + 20;
        assert!(
            std::fs::read(&file).unwrap() == if is_first_part { &expected } else { &continued }[..],
            "cut at {cut}"
        );
    }
    let into = data.directory().join("continued.db");
    let imported = import(&file, &["--data", into.to_str().unwrap()]).await;
    assert!(imported.stderr.contains("30,001 events stored"), "{imported:?}");
    // An export cut within the header starts over, and includes the later event.
    std::fs::write(&file, &expected[..10]).unwrap();
    resume().await.succeeds();
    assert_eq!(body(&file).lines().count(), 30_002);
    // The same with chosen runs, cut in the second.
    let chosen = data.directory().join("chosen");
    export(&["--run", "r3", "--run", "r1", from[0], from[1]], &chosen).await.succeeds();
    let text = std::fs::read(&chosen).unwrap();
    std::fs::write(&chosen, &text[..text.len() - 200_000]).unwrap();
    let again = ["export", "-o", chosen.to_str().unwrap(), "--resume", from[0], from[1]];
    run(NOWHERE, &again).await.succeeds();
    assert!(std::fs::read(&chosen).unwrap() == text);
    let server = Server::start(&data.file()).await;
    for run_id in ["r3", "r1", "r2"] {
        client::publish_one(&mut server.events().await, run_id, "step", "{}").await;
    }
    stop(server).await;
    run(NOWHERE, &again).await.succeeds();
    let continued = std::fs::read(&chosen).unwrap();
    let lines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines(&continued), lines(&text) + 2, "one event of each chosen run");
    // Cut behind the first of both.
    let ends: Vec<usize> = (0..continued.len()).filter(|n| continued[*n] == b'\n').collect();
    std::fs::write(&chosen, &continued[..ends[ends.len() - 3] + 20]).unwrap();
    run(NOWHERE, &again).await.succeeds();
    assert!(std::fs::read(&chosen).unwrap() == continued);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_serve_and_announce_an_import_into_their_database() {
    let Some(database) = Database::create().await else { return };
    let data = Data::new();
    let source = Server::start(&data.file()).await;
    fill(&source, &mut Rng::new("replicas_serve_and_announce")).await;
    let file = data.directory().join("file");
    run(&source.url(), &["export", "-o", file.to_str().unwrap()]).await.succeeds();
    let expected = Place::all(&body(&file));
    let replica = Server::on(&database.url()).await;
    let mut events = replica.events().await;
    client::publish_one(&mut events, "own", "step", "{}").await;
    let mut frames = events.subscribe(client::follow_all("")).await.unwrap().into_inner();
    assert_eq!(client::caught_up(&mut frames).await.len(), 1);
    import(&file, &["--store", &database.url()]).await.succeeds();
    let mut received = Vec::new();
    while received.len() < expected.len() {
        if let Some(pb::subscribe_response::Frame::Events(batch)) = client::frame(&mut frames).await.unwrap().frame {
            received.extend(batch.events().unwrap().iter().map(Place::of));
        }
    }
    assert_eq!(received, expected, "in the order of the source's feed");
    assert_eq!(client::publish_one(&mut events, "own", "step", "{}").await, 2);
}
