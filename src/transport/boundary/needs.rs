//! What an answer may need of the memory, judged by the request.

use http::{Method, Request};
use tonic::body::Body;

use crate::transport::rest::is_event_stream;

/// Last parts of the paths of POST requests whose answer may be a page, sums by group, or a run with its output and questions.
const LONG_ANSWERS: [&str; 13] = [
    "ListEvents",
    "ListKeys",
    "ListRuns",
    "GetUsage",
    "GetRun",
    "CreateRun",
    "CancelRun",
    "SignalRun",
    "ResumeRun",
    "runs",
    "cancel",
    "signal",
    "resume",
];

/// Whether the answer may be a page of events or runs, sums by group, or a run with a long output. Such an answer is built as a whole;
/// streams charge memory for each frame instead.
pub fn reads_a_page(request: &Request<Body>) -> bool {
    let path = request.uri().path();
    match *request.method() {
        Method::GET | Method::HEAD => !is_event_stream(path),
        Method::POST => path.rsplit('/').next().is_some_and(|last| LONG_ANSWERS.contains(&last)),
        _ => false,
    }
}

/// Health checks and metrics. Monitoring also needs answers from a busy server, and these answers are small.
pub fn is_probe(path: &str) -> bool {
    path.starts_with("/health/") || path == "/metrics" || path == "/grpc.health.v1.Health/Check"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_answer_with_a_page_or_a_long_run_waits_for_room_and_nothing_else_does() {
        let reads = |method: Method, path: &str| {
            reads_a_page(&Request::builder().method(method).uri(path).body(Body::empty()).unwrap())
        };
        for (method, path) in [
            (Method::POST, "/runlog.v1.EventService/ListEvents"),
            (Method::POST, "/runlog.v1.RunService/ListRuns"),
            (Method::POST, "/runlog.v1.RunService/GetRun"),
            (Method::POST, "/runlog.v1.RunService/GetUsage"),
            (Method::POST, "/api/structure-runs/r/cancel"),
            (Method::POST, "/v1/runs/r/cancel"),
            (Method::POST, "/v1/runs/r/signal"),
            (Method::POST, "/v1/runs/r/resume"),
            (Method::POST, "/v1/runs"),
            (Method::POST, "/runlog.v1.RunService/CreateRun"),
            (Method::POST, "/runlog.v1.RunService/CancelRun"),
            (Method::POST, "/runlog.v1.RunService/SignalRun"),
            (Method::POST, "/runlog.v1.RunService/ResumeRun"),
            (Method::GET, "/v1/runs/stream"),
            (Method::GET, "/api/events/stream"),
            (Method::HEAD, "/v1/runs"),
            (Method::GET, "/ag-ui/runs/r/s"),
        ] {
            assert!(reads(method, path), "{path}");
        }
        for (method, path) in [
            (Method::POST, "/runlog.v1.EventService/Publish"),
            (Method::POST, "/runlog.v1.EventService/Subscribe"),
            (Method::POST, "/api/ingest"),
            (Method::GET, "/v1/runs/r/events/stream"),
            (Method::GET, "/api/runs/events/events/stream"),
            (Method::GET, "/api/structure-runs/r/events/stream"),
            (Method::GET, "/v1/events/stream"),
            (Method::GET, "/ag-ui/runs/r"),
        ] {
            assert!(!reads(method, path), "{path}");
        }
    }
}
