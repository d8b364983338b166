//! Reads the `use crate::` paths of every source file and checks the imports against the layers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The allowed imports of a part of `src/` besides the part itself. `None`: no restriction.
fn allowed(part: &str) -> Option<&'static [&'static str]> {
    Some(match part {
        "domain" | "pb" | "telemetry" => &[],
        "codec" | "config" => &["domain"],
        "store" => &["codec", "domain", "telemetry"],
        "service" => &["codec", "domain", "store", "telemetry"],
        "transport" => &["codec", "service", "domain", "pb", "telemetry"],
        // The command line is a client; `serve` calls the composition root, and both sides share ids and records.
        "cli" => &["server", "codec", "config", "domain", "pb"],
        "server" | "main" | "lib" => return None,
        other => panic!("src/{other} has no line in the table of layers"),
    })
}

fn sources(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The first segments of all `crate::a` paths, in `use` lines, in groups `crate::{a, b}`, and in expressions.
fn imports(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in source.split("crate::").skip(1) {
        let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match rest.strip_prefix('{') {
            Some(group) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => drop(found.insert(name(std::mem::take(&mut item).trim()))),
                        c => item.push(c),
                    }
                }
                found.insert(name(item.trim()));
            }
            None => drop(found.insert(name(rest))),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn every_part_imports_only_what_its_layer_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 30, "the sources were found");
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
        let part = first.trim_end_matches(".rs");
        let Some(allowed) = allowed(part) else { continue };
        for import in imports(&std::fs::read_to_string(&file).unwrap()) {
            if import != part && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{} imports {import}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn metrics_have_their_names_and_help_texts_in_one_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let is_other = |file: &&PathBuf| !file.ends_with("telemetry/metric.rs");
    for file in files.iter().filter(is_other) {
        let source = std::fs::read_to_string(file).unwrap();
        for own_name in ["metrics::counter!", "metrics::gauge!", "metrics::histogram!"] {
            assert!(!source.contains(own_name), "{} has a metric of its own: use src/telemetry", file.display());
        }
    }
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let source =
        "use crate::domain::{Error, id};\nuse crate::{pb, store::{Page, ScopeEnd}};\nlet x = crate::server::y();";
    let expected = ["domain", "pb", "server", "store"].map(str::to_owned);
    assert_eq!(imports(source), BTreeSet::from(expected));
}
