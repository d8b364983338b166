//! The corpus of the fuzz targets, and small changes of it, with the stable toolchain. `tests/all.sh` runs the targets themselves
//! where a nightly toolchain is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says what it means")]

#[path = "../support/rng.rs"]
#[allow(dead_code, reason = "the other suites use the rest of it")]
mod rng;
mod targets;

use std::path::Path;

use rng::Rng;

/// Changes of each file of the corpus.
const CHANGES: usize = 200;

/// Runs a target over its corpus and over changes of it; prints what it does not hold for.
fn run(name: &str, target: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3, "a corpus of {name}");
    let mut rng = Rng::new(name);
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        target(&bytes);
        for _ in 0..CHANGES {
            let changed = changed(&bytes, &mut rng);
            let held = std::panic::catch_unwind(|| target(&changed));
            assert!(held.is_ok(), "{name}: a change of {} does not hold: {changed:?}", file.display());
        }
    }
}

/// The bytes with a bit flipped, a byte removed or inserted, a part repeated, or an end cut off.
fn changed(bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    for _ in 0..=below(rng, 3) {
        let at = below(rng, changed.len().max(1));
        match below(rng, 5) {
            0 if !changed.is_empty() => changed[at] ^= 1 << below(rng, 8),
            1 if !changed.is_empty() => drop(changed.remove(at)),
            2 => changed.insert(at, u8::try_from(below(rng, 256)).unwrap()),
            3 => changed.extend_from_within(at.min(changed.len())..),
            _ => changed.truncate(at.max(1)),
        }
    }
    changed
}

fn below(rng: &mut Rng, end: usize) -> usize {
    usize::try_from(rng.within(0..end as u64)).unwrap()
}

#[test]
fn keys_hold() {
    run("keys", targets::keys);
}

#[test]
fn payloads_hold() {
    run("payloads", targets::payloads);
}

#[test]
fn cursors_hold() {
    run("cursors", targets::cursors);
}

#[test]
fn records_hold() {
    run("records", targets::records);
}

#[test]
fn bodies_hold() {
    run("bodies", targets::bodies);
}

#[test]
fn messages_hold() {
    run("messages", targets::messages);
}
