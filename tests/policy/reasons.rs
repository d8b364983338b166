//! Every reason of an error is in the table of `proto/README.md`.

use std::fs;

use crate::readme::root;

#[test]
fn every_reason_of_an_error_has_a_row_that_says_what_to_do() {
    let facts = fs::read_to_string(root().join("src/domain/error/facts.rs")).unwrap();
    let (_, rest) = facts.split_once("fn reason(&self)").unwrap();
    let (body, _) = rest.split_once("\n    }\n").unwrap();
    let reasons: Vec<&str> = body.split('"').skip(1).step_by(2).collect();
    assert!(reasons.len() > 30, "{reasons:?}");
    let page = fs::read_to_string(root().join("proto/README.md")).unwrap();
    let (_, table) = page.split_once("### Reasons of errors\n").unwrap();
    let rows: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| ")).collect();
    for reason in reasons {
        let quoted = format!("`{reason}`");
        assert!(rows.iter().any(|row| row.split('|').next().unwrap().contains(&quoted)), "{reason} is missing");
    }
}
