//! Published event stream clients that follow a run over all three REST APIs.

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::harness::{Ran, within};

pub struct Page(JoinHandle<Ran>);

impl Page {
    /// Follows the run through the server at `base`. `None` without Node.js, after SKIPPED was printed.
    pub fn open(base: &str, run: &str) -> Option<Self> {
        let Ok(node) = std::env::var("RUNLOG_TEST_NODE") else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "RUNLOG_TEST_NODE is not set; run tests/all.sh");
            eprintln!("SKIPPED: event stream clients: RUNLOG_TEST_NODE is not set; tests/all.sh sets it");
            return None;
        };
        let mut client = Command::new(node);
        client.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/node/three_apis.mjs")).args([base, run]);
        Some(Self(tokio::spawn(Ran::of(client))))
    }

    /// Waits until each client has stopped at the end of the run, and checks that each event arrived once, in order.
    pub async fn check(self, last_seq: u64) {
        let ran = within("the end of the clients at the end of the run", self.0).await.unwrap();
        let received: Value = serde_json::from_str(&ran.succeeds()).unwrap();
        let all: Vec<String> = (1..=last_seq).map(|seq| seq.to_string()).collect();
        for api in ["a", "b", "c"] {
            assert!(
                received[api] == json!(all),
                "API {api}: {} of {last_seq}: {}",
                received[api].as_array().map_or(0, Vec::len),
                received[api]
            );
        }
    }
}
