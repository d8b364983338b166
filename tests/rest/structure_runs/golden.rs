//! Every documented example as an exchange of HTTP texts, compared byte by byte with a snapshot; see [`crate::exchanges`].
//!
//! A file holds requests that end with `===`: a request line, headers, a blank line, the body. In the snapshot `---` and
//! the status and the body of the answer follow. Only values of the server are normalized: ids of version 8 and times of
//! its own clock.

use std::fmt::Write as _;

use reqwest::Method;

use crate::exchanges::{compare, requests};
use crate::harness::{Gateway, json_text};

#[tokio::test]
async fn every_documented_example_is_answered_as_documented() {
    let files = requests("structure_runs");
    assert!(files.len() >= 10, "the examples were found");
    for (name, text) in files {
        let gateway = Gateway::start().await;
        let mut exchanges = String::new();
        for request in text.split("\n===\n").filter(|text| !text.trim().is_empty()) {
            let (status, answer) = answered(&gateway, request).await;
            write!(exchanges, "{request}\n---\n{status}\n{}\n===\n", normalized(&answer)).unwrap();
        }
        compare("structure_runs", &name, &exchanges);
    }
}

async fn answered(gateway: &Gateway, text: &str) -> (u16, String) {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
    let mut request = gateway.client.request(Method::from_bytes(method.as_bytes()).unwrap(), gateway.url(path));
    for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
        request = request.header(name, value);
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), json_text(response).await)
}

/// Replaces ids of the server, and times after 2024, the year of the examples.
fn normalized(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped =
            if let Some(after) = rest.strip_prefix(OUTPUT_TIMESTAMP).filter(|after| !after.starts_with("null")) {
                out.push_str(OUTPUT_TIMESTAMP);
                out.push_str("<seconds>");
                OUTPUT_TIMESTAMP.len() + after.find([',', '}']).unwrap()
            } else if is_time(rest) {
                out.push_str("<time>");
                27
            } else if is_assigned_id(rest) {
                out.push_str("<id>");
                36
            } else {
                out.push(c);
                c.len_utf8()
            };
        rest = &rest[skipped..];
    }
    out
}

/// The member with a time of the server's clock as a number.
const OUTPUT_TIMESTAMP: &str = "\"output_timestamp\":";

fn is_time(text: &str) -> bool {
    has_shape(text, "0000-00-00T00:00:00.000000Z") && !text.starts_with("2024")
}

fn is_assigned_id(text: &str) -> bool {
    has_shape(text, "xxxxxxxx-xxxx-8xxx-xxxx-xxxxxxxxxxxx")
}

/// 0: a digit, x: a hexadecimal digit, all other characters: equal.
fn has_shape(text: &str, shape: &str) -> bool {
    text.len() >= shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            b'x' => byte.is_ascii_hexdigit(),
            other => byte == other,
        })
}
