//! Exchanges over HTTP as snapshots: a test sends the requests of `tests/fixtures/requests`, and `snapshots` holds them with
//! their answers. `INSTA_UPDATE=always` writes the snapshots from the answers; review the difference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn files(directory: &str) -> impl Iterator<Item = PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory);
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path())
}

/// The requests to an API, by the name of their file.
pub fn requests(api: &str) -> BTreeMap<String, String> {
    let name = |file: &Path| file.file_stem().unwrap().to_str().unwrap().to_owned();
    let requests: BTreeMap<_, _> = files(&format!("fixtures/requests/{api}"))
        .map(|file| (name(&file), std::fs::read_to_string(&file).unwrap()))
        .collect();
    let is_snapshot = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "snap");
    for file in files("rest/snapshots").filter(is_snapshot) {
        if let Some(of) = name(&file).strip_prefix(&format!("{api}__")) {
            assert!(requests.contains_key(of), "{} has no requests", file.display());
        }
    }
    requests
}

/// Compares the exchanges of a file of requests with their snapshot.
pub fn compare(api: &str, name: &str, exchanges: &str) {
    assert!(!exchanges.contains('\r'), "a snapshot would not show it");
    insta::with_settings!({prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(format!("{api}__{name}"), exchanges);
    });
}
