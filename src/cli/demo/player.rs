//! A player of the demo: publishes the events of one script after the other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::script::{Script, Step};
use super::scripts;
use crate::cli::client::{ClientArgs, Connection};
use crate::cli::outcome::Failure;
use crate::pb::event_service_client::EventServiceClient;
use crate::pb::payload::Variant;
use crate::pb::run_service_client::RunServiceClient;
use crate::pb::{self, RunStatus};

/// How long a question stays open for people, milliseconds, before the script answers it.
const FOR_PEOPLE_MS: u64 = 20_000;

/// Pause between two looks for an answer.
const LOOK: Duration = Duration::from_millis(500);

/// Payload of the agent's event about an answer that a person gave.
const ANSWERED: &str = r#"{"response":"answered by a signal","responded_by":"you"}"#;

/// Publishes scripts to the server.
pub struct Player {
    events: EventServiceClient<Connection>,
    runs: RunServiceClient<Connection>,
    client: ClientArgs,
}

impl Player {
    pub fn new(channel: Connection, client: ClientArgs) -> Self {
        Self { events: EventServiceClient::new(channel.clone()), runs: RunServiceClient::new(channel), client }
    }

    /// Plays scripts in an endless loop. All players share one round-robin counter.
    pub async fn play_for_ever(mut self, number: usize) -> Result<(), Failure> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Staggered starts; even the first leaves the live tail time to subscribe.
        sleep(Duration::from_millis(300 + 700 * number as u64)).await;
        let scripts = scripts::all();
        loop {
            let script = scripts[NEXT.fetch_add(1, Ordering::Relaxed) % scripts.len()];
            self.play(script).await?;
            sleep(human(1_500)).await;
        }
    }

    /// Plays one script, up to the end of its run: a person may cancel the run before.
    async fn play(&mut self, script: &Script) -> Result<(), Failure> {
        let request_id = Uuid::new_v4().to_string();
        let run_id = format!("{}-{}", script.name, &request_id[..6]);
        for step in script.steps {
            let by_a_person = step.is_answer() && self.is_answered(&run_id).await?;
            let payload = match (by_a_person, step.event_type) {
                (true, "human_input_received") => ANSWERED.to_owned(),
                // The signal is an event of the run already.
                (true, _) => continue,
                (false, _) => step.payload(&request_id),
            };
            if !step.is_answer() {
                sleep(human(step.after_ms)).await;
            }
            if self.publish(&run_id, script.agent, step, payload).await? {
                break;
            }
        }
        Ok(())
    }

    /// Publishes the event of a step; returns whether the run has ended.
    async fn publish(&mut self, run_id: &str, agent: &str, step: &Step, payload: String) -> Result<bool, Failure> {
        let event = pb::NewEvent {
            event_id: Uuid::now_v7().to_string(),
            r#type: step.event_type.to_owned(),
            agent_name: agent.to_owned(),
            payload: Some(pb::Payload { extra_json: String::new(), variant: Some(Variant::Json(payload)) }),
            ..Default::default()
        };
        let request = pb::PublishRequest { run_id: run_id.to_owned(), events: vec![event], expected_last_seq: None };
        let call = self.events.publish(self.client.request(request));
        let answer = self.client.answer(call).await.map_err(|status| Failure::of_status(&status))?;
        Ok(matches!(answer.run_status(), RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled))
    }

    /// Waits for a person to answer the open question, or to end the run; false once the script has to answer.
    async fn is_answered(&mut self, run_id: &str) -> Result<bool, Failure> {
        let end = Instant::now() + human(FOR_PEOPLE_MS);
        while Instant::now() < end {
            let request = self.client.request(pb::GetRunRequest { run_id: run_id.to_owned() });
            let answer = self.client.answer(self.runs.get_run(request)).await;
            let run = answer.map_err(|status| Failure::of_status(&status))?.run.unwrap_or_default();
            if run.pending_inputs.is_empty() {
                return Ok(true);
            }
            sleep(LOOK).await;
        }
        Ok(false)
    }
}

/// Duration with jitter: 0.6 to 1.4 times `millis`, like the response times of people and models.
fn human(millis: u64) -> Duration {
    Duration::from_millis(millis).mul_f64(0.6 + 0.8 * fastrand::f64())
}
