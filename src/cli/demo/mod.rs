//! `runlog serve --demo`: players publish demo runs to the server over gRPC, and a live tail prints the events.

mod agent_runs;
mod public_runs;
mod script;
mod scripts;
mod structure_runs;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::client::{ClientArgs, Connection};
use super::commands::tail;
use super::outcome::{Exit, Failure};
use super::output::render::{Clock, Printer, note};
use crate::pb::{
    self,
    event_service_client::EventServiceClient,
    payload::Variant,
    subscribe_request::{Scope, Start},
};
use script::Script;

/// Number of concurrent demo runs.
const PLAYERS: usize = 3;
const NAME: Style = AnsiColor::Green.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// Runs the players and the live tail until `stop`.
pub async fn run(server: SocketAddr, stop: CancellationToken) {
    let result = tokio::select! {
        result = play_and_show(server) => result,
        () = stop.cancelled() => return,
    };
    if let Err(failure) = result {
        if failure.exit == Exit::Ok {
            // The reader of stdout is gone: a demo without output has no purpose, so the server stops, too.
            stop.cancel();
        } else if !stop.is_cancelled() {
            note(&format!("the demo has ended: {}", failure.message));
        }
    }
}

async fn play_and_show(server: SocketAddr) -> Result<(), Failure> {
    let client = ClientArgs::to(reachable(server))?;
    let channel = client.connect().await?;
    let mut printer = Printer::new(false, Clock::Time);
    printer.line(&banner(&client))?;
    printer.flush()?;
    // The set is dropped with this future, which aborts the players.
    let mut players = JoinSet::new();
    for _ in 0..PLAYERS {
        let events = EventServiceClient::new(channel.clone());
        players.spawn(play_for_ever(events, client.clone(), players.len()));
    }
    let subscription = pb::SubscribeRequest {
        scope: Some(Scope::AllRuns(pb::AllRuns {})),
        start: Some(Start::Latest(pb::Latest {})),
        ..tail::subscription()
    };
    tokio::select! {
        shown = tail::follow(&client, subscription, Duration::from_secs(60), &mut printer) => shown,
        Some(ended) = players.join_next() => {
            ended.unwrap_or_else(|error| Err(Failure::new(Exit::Other, error.to_string())))
        }
    }
}

fn banner(client: &ClientArgs) -> String {
    let server = client.server.to_string();
    let server = server.trim_end_matches('/');
    let option = if server == "http://127.0.0.1:7800" { String::new() } else { format!(" --server {server}") };
    let width = "runlog list --all --json".len() + option.len();
    let command = |text: &str, what: &str| {
        let text = format!("runlog {text}{option}");
        format!("  {NAME}{text:<width$}{NAME:#}  {DIM}{what}{DIM:#}\n")
    };
    format!(
        "\n{NAME}runlog{NAME:#} plays agent runs into {server} and shows them live. Ctrl-C ends it. In another terminal:\n{}{}{}",
        command("runs", "the runs and how they ended"),
        command("tail RUN", "one run from its first event on"),
        command("list --all --json", "all events, for programs"),
    )
}

/// Loopback address for a server that listens on all interfaces, else the listen address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, listen.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, listen.port()).into(),
        _ => listen,
    }
}

/// Plays scripts in an endless loop. All players share one round-robin counter.
async fn play_for_ever(
    mut events: EventServiceClient<Connection>,
    client: ClientArgs,
    player: usize,
) -> Result<(), Failure> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Staggered starts; even the first leaves the live tail time to subscribe.
    sleep(Duration::from_millis(300 + 700 * player as u64)).await;
    let scripts = scripts::all();
    loop {
        let script = scripts[NEXT.fetch_add(1, Ordering::Relaxed) % scripts.len()];
        play(&mut events, &client, script).await?;
        sleep(human(1_500)).await;
    }
}

async fn play(
    events: &mut EventServiceClient<Connection>,
    client: &ClientArgs,
    script: &Script,
) -> Result<(), Failure> {
    let request_id = Uuid::new_v4().to_string();
    let run_id = format!("{}-{}", script.name, &request_id[..6]);
    for step in script.steps {
        sleep(human(step.after_ms)).await;
        let event = pb::NewEvent {
            event_id: Uuid::now_v7().to_string(),
            r#type: step.event_type.to_owned(),
            agent_name: script.agent.to_owned(),
            payload: Some(pb::Payload {
                extra_json: String::new(),
                variant: Some(Variant::Json(step.payload(&request_id))),
            }),
            ..Default::default()
        };
        let request = pb::PublishRequest { run_id: run_id.clone(), events: vec![event], expected_last_seq: None };
        let call = events.publish(client.request(request));
        client.answer(call).await.map_err(|status| Failure::of_status(&status))?;
    }
    Ok(())
}

/// Duration with jitter: 0.6 to 1.4 times `millis`, like the response times of people and models.
fn human(millis: u64) -> Duration {
    Duration::from_millis(millis).mul_f64(0.6 + 0.8 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_reached_on_this_machine() {
        let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(reached("[::]:1"), "[::1]:1");
        assert_eq!(reached("127.0.0.1:7800"), "127.0.0.1:7800");
    }
}
