//! Flipped bits and truncations of each file of a store, at 200 places: reads return the right data or an error.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use runlog::codec::record;
use runlog::domain::{Error, Scope};
use runlog::store::sqlite::{OpenError, SqliteOptions};
use runlog::store::{Range, ReadFrom, RunQuery, SharedStore};

use super::try_open;
use crate::fixture::*;
use crate::rng::Rng;

const ROUNDS: usize = 200;
const RUNS: u64 = 12;
const EVENTS: u64 = 40;

/// The data before the damage: each run as text, and each event by scope and offset.
struct Truth {
    runs: BTreeMap<String, String>,
    events: BTreeMap<(String, u64), Bytes>,
    last: BTreeMap<String, u64>,
}

fn scopes() -> Vec<Scope> {
    (0..RUNS).map(|n| run(&name(n))).chain([Scope::Feed]).collect()
}

fn name(n: u64) -> String {
    format!("run-{n}")
}

/// A log with a flushed part, ids in segments and in memory, questions, outputs, and a part only in the write-ahead
/// log.
async fn fill(store: &SharedStore) {
    for seq in 1..=EVENTS {
        for n in 0..RUNS {
            let text =
                format!(r#"{{"n":{n},"seq":{seq},"text":"{}"}}"#, "x".repeat(usize::try_from(seq * 13 % 400).unwrap()));
            let event_type = match seq {
                1 => "run_start",
                5 if n % 3 == 0 => "human_input_requested",
                EVENTS if n % 2 == 0 => "run_end",
                _ => "step",
            };
            let event = with_id(&format!("id-{n}-{seq}"), typed(event_type, &text));
            store.append(append(&name(n), vec![event])).await.unwrap();
        }
    }
}

async fn page(store: &SharedStore, scope: &Scope, from: u64, descending: bool) -> Result<Vec<(u64, Bytes)>, Error> {
    let range = Range { from: beyond(from, descending), max_events: 16, max_bytes: 1 << 20 };
    store.read(scope, range).await?.chunks.iter().flat_map(|chunk| chunk.records()).collect()
}

impl Truth {
    async fn of(store: &SharedStore) -> Self {
        let (mut runs, mut events, mut last) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for scope in scopes() {
            for (offset, record) in all(store, &scope).await {
                last.insert(scope.to_string(), offset);
                events.insert((scope.to_string(), offset), record);
            }
        }
        for n in 0..RUNS {
            runs.insert(name(n), format!("{:?}", store.run(&run_id(&name(n))).await.unwrap()));
        }
        Self { runs, events, last }
    }

    /// Fails at any wrong data. Returns the number of refused calls.
    async fn holds(&self, store: &SharedStore, what: &str) -> usize {
        self.holds_of_events(store, what, false).await
            + self.holds_of_runs(store, what).await
            + self.repeats(store, what).await
    }

    /// `may_end_early`: the last stored events may be missing.
    async fn holds_of_events(&self, store: &SharedStore, what: &str, may_end_early: bool) -> usize {
        let mut refused = 0;
        for scope in scopes() {
            for descending in [false, true] {
                let mut from = if descending { self.last[&scope.to_string()] + 1 } else { 0 };
                loop {
                    match page(store, &scope, from, descending).await {
                        Ok(found) if found.is_empty() => {
                            assert!(may_end_early, "{what}: {scope} ends at {from}");
                            break;
                        }
                        Ok(found) if may_end_early && descending => {
                            from = found.last().unwrap().0;
                        }
                        Ok(found) => {
                            for (at, record) in &found {
                                let truth = self.events.get(&(scope.to_string(), *at));
                                assert_eq!(Some(record), truth, "{what}: {scope} at {at}");
                            }
                            let next = if descending { from - 1 } else { from + 1 };
                            let first = found.first().unwrap().0;
                            assert_eq!(first, next, "{what}: {scope} from {from}, a gap");
                            from = found.last().unwrap().0;
                        }
                        Err(error) => {
                            is_refusal(&error, what);
                            refused += 1;
                            // Go on after the damage.
                            from = if descending { from - 1 } else { from + 1 };
                        }
                    }
                    if (descending && from <= 1) || (!descending && from >= self.last[&scope.to_string()]) {
                        break;
                    }
                }
            }
        }
        refused
    }

    async fn holds_of_runs(&self, store: &SharedStore, what: &str) -> usize {
        let mut refused = 0;
        for (name, truth) in &self.runs {
            match store.run(&run_id(name)).await {
                Ok(run) => assert_eq!(&format!("{run:?}"), truth, "{what}: {name}"),
                Err(error) => {
                    is_refusal(&error, what);
                    refused += 1;
                }
            }
        }
        if let Ok(page) = store.runs(&RunQuery { limit: 100, ..RunQuery::default() }).await {
            for run in page.runs {
                assert_eq!(&format!("{run:?}"), &self.runs[&run.run_id.to_string()], "{what}: the listing");
            }
        }
        refused
    }

    /// A retry of a stored event is a duplicate.
    async fn repeats(&self, store: &SharedStore, what: &str) -> usize {
        let mut refused = 0;
        for n in 0..RUNS {
            for seq in [2, EVENTS / 2, EVENTS - 1] {
                let record = self.events[&(run(&name(n)).to_string(), seq)].clone();
                let event = record::decode(record).unwrap();
                let event = with_id(&event.event_id.to_string(), typed("step", event.payload.as_str()));
                match store.append(append(&name(n), vec![event])).await {
                    Ok(again) => assert_eq!((seqs(&again), duplicates(&again)), (vec![seq], vec![true]), "{what}: {n}"),
                    Err(error) => {
                        is_refusal(&error, what);
                        refused += 1;
                    }
                }
            }
        }
        refused
    }
}

/// An id is in the row of its run and in the index of ids. Where one of them is damaged, the run is not taken for a new one, and
/// no reader hears that there is no such run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_any_copy_of_a_run_id_makes_no_second_run_with_this_id_and_hides_none() {
    let whole = SqliteFixture::here();
    let store = whole.open(tuning(60)).await.0;
    fill(&store).await;
    let truth = Truth::of(&store).await;
    store.close().await;
    let bytes = fs::read(whole.0.path().join("log.db")).unwrap();
    let mut refused = 0;
    // The last id in the order of the index keeps its place with a larger text, so that a search for that text finds it.
    for (id, bits) in [(b"run-7", &[0, 1, 6][..]), (b"run-9", &[6])] {
        let copies: Vec<usize> =
            bytes.windows(5).enumerate().filter(|(_, text)| text == id).map(|(at, _)| at).collect();
        assert!(copies.len() > 2, "{copies:?}");
        for (at, bit) in copies.iter().flat_map(|at| bits.iter().map(move |bit| (at + 4, *bit))) {
            let dir = tempfile::tempdir().unwrap();
            copy(whole.0.path(), dir.path());
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            let made = str::from_utf8(&bytes[at - 4..=at]).unwrap().to_owned();
            fs::write(dir.path().join("log.db"), &bytes).unwrap();
            let options = SqliteOptions { max_unflushed_entries: 60, ..SqliteOptions::new(dir.path().join("log.db")) };
            let Ok(store) = try_open(options).await else { continue };
            let what = format!("bit {bit} of byte {at}");
            hides_none(&store, &truth, &made, &what).await;
            refused += truth.repeats(&store, &what).await;
            store.close().await;
        }
    }
    assert!(refused > 0);
}

/// Every stored run is served as it is or refused as damaged, and what the damage made of an id is no run.
async fn hides_none(store: &SharedStore, truth: &Truth, made: &str, what: &str) {
    const FIRST: Range = Range { from: ReadFrom::After(0), max_events: 1, max_bytes: 1 << 20 };
    for (name, stored) in &truth.runs {
        let is_damage =
            |error: Error| assert!(!matches!(error, Error::RunNotFound { .. }), "{what}: {name}: {error:?}");
        let _ = store.run(&run_id(name)).await.map(|run| assert_eq!(&format!("{run:?}"), stored)).map_err(is_damage);
        let _ = store.read(&run(name), FIRST).await.map(|page| assert!(!page.chunks.is_empty())).map_err(is_damage);
        let _ = store.hold(&run_id(name), false).await.map_err(is_damage);
    }
    if !truth.runs.contains_key(made) {
        assert!(store.run(&run_id(made)).await.is_err(), "{what}: {made}");
        assert!(store.read(&run(made), FIRST).await.is_err(), "{what}: {made}");
    }
}

fn is_refusal(error: &Error, what: &str) {
    let is_refusal = matches!(
        error,
        Error::StoreDamaged
            | Error::EventDamaged { .. }
            | Error::StoreUnavailable
            | Error::RunNotFound { .. }
            | Error::StoreLost { .. }
            | Error::Internal(_)
            | Error::OutcomeUnknown
    );
    assert!(is_refusal, "{what}: {error:?}");
}

fn below(chance: &mut Rng, bound: usize) -> usize {
    usize::try_from(chance.within(0..bound as u64)).unwrap()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_and_lost_ends_of_any_file_are_served_right_or_refused_and_never_wrong() {
    let mut chance = Rng::new("flips");
    let flushing = tuning(60);
    let (fixture, killed) = (SqliteFixture::here(), tempfile::tempdir().unwrap());
    let store = fixture.open(flushing).await.0;
    fill(&store).await;
    let truth = Truth::of(&store).await;
    // The files after a kill, and after a clean stop.
    copy(fixture.0.path(), killed.path());
    store.close().await;
    let (mut refusals, mut right, mut harmed) = (0, 0, 0);
    for round in 0..ROUNDS {
        let dir = tempfile::tempdir().unwrap();
        copy(if round % 2 == 0 { killed.path() } else { fixture.0.path() }, dir.path());
        let mut files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.metadata().unwrap().len() > 0);
        files.sort();
        let file = &files[below(&mut chance, files.len())];
        let mut bytes = fs::read(file).unwrap();
        let at = below(&mut chance, bytes.len());
        let what = if round % 10 == 9 {
            bytes.truncate(at);
            format!("round {round}: {} cut off at {at}", file.display())
        } else {
            let bit = chance.within(0..8);
            bytes[at] ^= 1 << bit;
            format!("round {round}: bit {bit} of byte {at} of {}", file.display())
        };
        fs::write(file, bytes).unwrap();
        let options = SqliteOptions { max_unflushed_entries: 60, ..SqliteOptions::new(dir.path().join("log.db")) };
        // A write-ahead log may have lost its end unnoticed, as if never written; only cursors reveal the loss.
        let is_wal = file.extension().is_some_and(|extension| extension == "db-wal");
        match try_open(options).await {
            Ok(store) => {
                let refused = match is_wal {
                    true => truth.holds_of_events(&store, &what, true).await,
                    false => truth.holds(&store, &what).await,
                };
                match refused {
                    0 => right += 1,
                    _ => harmed += 1,
                }
                store.close().await;
            }
            Err(OpenError::Damaged { .. } | OpenError::NotADatabase { .. } | OpenError::Foreign { .. }) => {
                refusals += 1
            }
            Err(OpenError::NewerSchema { .. } | OpenError::Other { .. }) => refusals += 1,
            Err(other) => panic!("{what}: {other}"),
        }
    }
    println!("{right} served right, {harmed} in part, {refusals} not at all");
    assert!(harmed > 0 && refusals > 0 && right > 0, "{right} right, {harmed} harmed, {refusals} refused");
}
