//! Conversations compared byte by byte with their snapshots; see [`crate::exchanges`].
//!
//! A file is a list of steps on a new server: `### title`, and a request with its headers and body. In the snapshot the
//! answer follows from the line `HTTP <status>` on. Only ids and times of the server are replaced.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::exchanges::{compare, requests};
use crate::harness::{Gateway, json_text};

#[tokio::test]
async fn every_documented_request_is_answered_to_the_byte() {
    for (name, conversation) in requests("agent_sdk") {
        compare("agent_sdk", &name, &hold(&conversation).await);
    }
}

/// Sends the requests of a conversation and returns the conversation with the answers.
async fn hold(conversation: &str) -> String {
    let gateway = Gateway::start().await;
    let (_, api) = gateway.get("/openapi.json").await;
    let (preface, steps) = conversation.split_once("### ").unwrap();
    let mut held = preface.to_owned();
    for step in steps.split("\n### ") {
        let request = step.trim_end();
        let (status, answer) = send(&gateway, request).await;
        assert!(is_documented(&api, request, status), "{request}: {status}");
        write!(held, "### {request}\n\nHTTP {status}\n{}\n\n", normalized(&answer).trim_end()).unwrap();
    }
    format!("{}\n", held.trim_end())
}

/// Whether the OpenAPI description of the route has this status; unknown routes have no description.
fn is_documented(api: &Value, request: &str, status: u16) -> bool {
    let (method, target) = request.lines().nth(1).unwrap().split_once(' ').unwrap();
    let path: Vec<_> = target.split('?').next().unwrap().split('/').collect();
    let is_route = |template: &str| {
        let template: Vec<_> = template.split('/').collect();
        template.len() == path.len() && template.iter().zip(&path).all(|(t, p)| t == p || t.starts_with('{'))
    };
    let mut routes = api["paths"].as_object().unwrap().iter().filter(|(template, _)| is_route(template)).peekable();
    let is_known =
        |(_, route): (_, &Value)| route[method.to_lowercase()]["responses"].get(status.to_string()).is_some();
    if routes.peek().is_none() { status == 404 } else { routes.any(is_known) }
}

async fn send(gateway: &Gateway, request: &str) -> (u16, String) {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut lines = head.lines().skip(1);
    let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
    let mut request = gateway.client.request(method.parse::<Method>().unwrap(), gateway.url(path));
    for header in lines {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    if !body.is_empty() {
        request = request.body(body.to_owned());
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), json_text(response).await)
}

/// Replaces ids of the server and times of this test.
fn normalized(answer: &str) -> String {
    let is_now = |text: &str| {
        let at = text.parse::<Timestamp>();
        at.is_ok_and(|at| at.duration_since(Timestamp::now()).abs() < SignedDuration::from_hours(1))
    };
    let word = |text| match text {
        text if Uuid::try_parse(text).is_ok() => "<id>",
        text if is_now(text) => "<now>",
        text => text,
    };
    answer.split('"').map(word).collect::<Vec<_>>().join("\"")
}
