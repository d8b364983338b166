//! The dependencies of the program: licences that allow one binary to be shipped, all from one registry.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, ParseMode};

/// Permissive licences only, since all packages are linked into one binary.
const ALLOWED: [&str; 10] = [
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    // The certificate authorities that Mozilla trusts, as data.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// All packages of the lock file, as Cargo describes them.
fn packages() -> Vec<Value> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&metadata.stderr));
    let mut metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

/// Whether allowed licences alone satisfy the licence expression.
fn is_allowed(license: &str) -> bool {
    // `MIT/Apache-2.0` is how old packages write OR.
    let expression = Expression::parse_mode(license, ParseMode::LAX).unwrap();
    expression.evaluate(|requirement| requirement.license.id().is_some_and(|id| ALLOWED.contains(&id.name)))
}

#[test]
fn every_package_has_a_permissive_licence() {
    let refused: Vec<String> = packages()
        .iter()
        .filter(|package| !package["license"].as_str().is_some_and(is_allowed))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "not allowed:\n{}", refused.join("\n"));
}

/// Packages of the program, or of the program and its tests.
fn tree(edges: &str) -> String {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--prefix", "none", "--edges", edges])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    String::from_utf8(tree.stdout).unwrap()
}

#[test]
fn the_program_has_no_failpoints_and_only_its_tests_have() {
    let has = |edges| tree(edges).lines().any(|package| package.starts_with("fail v"));
    assert!(!has("normal,build"), "a build of the program has failpoints");
    assert!(has("normal,build,dev"), "the tests have none");
}

#[test]
fn a_licence_that_binds_the_whole_program_is_refused() {
    for (license, allowed) in [
        ("GPL-3.0-only", false),
        ("MIT AND GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
    ] {
        assert_eq!(is_allowed(license), allowed, "{license}");
    }
}

#[test]
fn all_packages_come_from_one_registry_and_none_from_a_repository_or_a_folder() {
    let (own, foreign): (Vec<Value>, Vec<Value>) =
        packages().into_iter().partition(|package| package["source"].is_null());
    let own: Vec<&str> = own.iter().map(|package| package["name"].as_str().unwrap()).collect();
    assert_eq!(own, ["runlog"]);
    let sources: BTreeSet<&str> = foreign.iter().map(|package| package["source"].as_str().unwrap()).collect();
    assert_eq!(sources.len(), 1, "{sources:?}");
    assert!(sources.iter().all(|source| source.starts_with("registry+")), "{sources:?}");
}
