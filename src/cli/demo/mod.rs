//! `runlog serve --demo`: players publish demo runs to the server over gRPC, and a live tail prints the events.

mod agent_runs;
mod player;
mod public_runs;
mod script;
mod scripts;
mod structure_runs;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::ClientArgs;
use super::commands::tail;
use super::outcome::{Exit, Failure};
use super::output::format::Format;
use super::output::printer::Printer;
use super::output::render::{Clock, note};
use crate::pb::{
    self,
    subscribe_request::{Scope, Start},
};
use player::Player;

/// Number of concurrent demo runs.
const PLAYERS: usize = 3;
const NAME: Style = AnsiColor::Green.on_default().bold();
const LINK: Style = AnsiColor::Cyan.on_default().underline();
const DIM: Style = Style::new().dimmed();

/// Runs the players and the live tail until `stop`.
pub async fn run(server: SocketAddr, has_console: bool, stop: CancellationToken) {
    let result = tokio::select! {
        result = play_and_show(server, has_console) => result,
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

async fn play_and_show(server: SocketAddr, has_console: bool) -> Result<(), Failure> {
    let client = ClientArgs::to(reachable(server))?;
    let channel = client.connect().await?;
    let mut printer = Printer::new(Format::Table, Clock::Time);
    printer.line(&banner(&client, has_console))?;
    printer.flush()?;
    // The set is dropped with this future, which aborts the players.
    let mut players = JoinSet::new();
    for number in 0..PLAYERS {
        players.spawn(Player::new(channel.clone(), client.clone()).play_for_ever(number));
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

fn banner(client: &ClientArgs, has_console: bool) -> String {
    let server = client.server.to_string();
    let server = server.trim_end_matches('/');
    let option = if server == "http://127.0.0.1:7800" { String::new() } else { format!(" --server {server}") };
    let width = "runlog list --all --json".len() + option.len();
    let command = |text: &str, what: &str| {
        let text = format!("runlog {text}{option}");
        format!("  {NAME}{text:<width$}{NAME:#}  {DIM}{what}{DIM:#}\n")
    };
    let console = match has_console {
        true => format!("\n  {LINK}{server}/{LINK:#}  {DIM}the console: the same runs in a browser{DIM:#}\n\n"),
        false => " ".to_owned(),
    };
    format!(
        "\n{NAME}runlog{NAME:#} plays agent runs into {server} and shows them live. Ctrl-C ends it.{console}In another terminal:\n{}{}{}",
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
