//! The dependencies of the program and its tests: licences that allow one binary to be shipped, all from one registry, one
//! TLS stack. The lists are those of `deny.toml`, which `tests/all.sh` gives to cargo-deny, too.

use std::collections::BTreeSet;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;
use spdx::{Expression, ParseMode};

/// The lists of `deny.toml` that these tests hold.
#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    sources: Sources,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: BTreeSet<String>,
    allow_git: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
}

impl Rules {
    fn load() -> Self {
        toml::from_str(include_str!("deny.toml")).unwrap()
    }

    /// Whether allowed licences alone satisfy the licence expression.
    fn allows(&self, license: &str) -> bool {
        // `MIT/Apache-2.0` is how old packages write OR.
        let expression = Expression::parse_mode(license, ParseMode::LAX).unwrap();
        expression
            .evaluate(|requirement| requirement.license.id().is_some_and(|id| self.licenses.allow.contains(id.name)))
    }
}

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

#[test]
fn every_package_has_a_permissive_licence() {
    let rules = Rules::load();
    let refused: Vec<String> = packages()
        .iter()
        .filter(|package| !package["license"].as_str().is_some_and(|license| rules.allows(license)))
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
    let rules = Rules::load();
    for (license, allowed) in [
        ("GPL-3.0-only", false),
        ("MIT AND GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
    ] {
        assert_eq!(rules.allows(license), allowed, "{license}");
    }
}

#[test]
fn all_packages_come_from_one_registry_and_none_from_a_repository_or_a_folder() {
    let (own, foreign): (Vec<Value>, Vec<Value>) =
        packages().into_iter().partition(|package| package["source"].is_null());
    let own: Vec<&str> = own.iter().map(|package| package["name"].as_str().unwrap()).collect();
    assert_eq!(own, ["runlog"]);
    let Sources { allow_registry, allow_git } = Rules::load().sources;
    assert_eq!((allow_registry.len(), allow_git.len()), (1, 0), "one registry, no repository");
    let sources: BTreeSet<&str> = foreign.iter().map(|package| package["source"].as_str().unwrap()).collect();
    let allowed = allow_registry.iter().map(|registry| format!("registry+{registry}"));
    assert!(sources.iter().copied().eq(allowed), "{sources:?}");
}

#[test]
fn no_package_brings_a_second_tls_stack() {
    let banned = Rules::load().bans.deny;
    assert!(!banned.is_empty());
    let packages = packages();
    for Banned { name } in banned {
        assert!(packages.iter().all(|package| package["name"] != name), "{name}");
    }
}
