use std::fs;

use super::*;

#[test]
fn a_file_may_have_any_length_from_a_rewrite_until_its_log_is_emptied() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.db");
    let has = |length| fs::write(&path, vec![0; length]).unwrap();
    has(9_000);
    fs::write(directory.path().join("log.db-wal"), []).unwrap();
    let watch = FileWatch::new(&path).unwrap();
    watch.look().unwrap();
    watch.begin_rewrite();
    // A checkpoint moves an earlier state with fewer pages after one with more is committed.
    for length in [5_000, 2_000, 4_000] {
        has(length);
        watch.look().unwrap();
    }
    watch.end_rewrite();
    watch.look().unwrap();
    has(3_999);
    assert!(matches!(watch.look(), Err(Error::StoreLost { .. })));
}
