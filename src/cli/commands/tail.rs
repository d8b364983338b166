//! `runlog tail`: stored events, then live events, with automatic reconnects.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, timeout};
use tonic::Status;

use crate::cli::backoff::Backoff;
use crate::cli::client::{ClientArgs, duration, is_transient};
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::format::OutputArgs;
use crate::cli::output::json_line::status_name;
use crate::cli::output::printer::Printer;
use crate::cli::output::render::{Clock, note};
use crate::cli::output::text::grouped;
use crate::cli::scope::{FilterArgs, ScopeArgs};
use crate::pb::{
    self,
    subscribe_request::{Scope, Start},
    subscribe_response::Frame,
};

/// Requested interval of heartbeat frames.
const HEARTBEAT_SECONDS: i64 = 10;
/// A stream without a frame for more than three heartbeats counts as broken.
const FRAME_TIMEOUT: Duration = Duration::from_secs(35);

/// The options of `runlog tail`.
#[derive(Debug, Args)]
pub struct TailArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Go on after this event: a sequence number in a run, and over all runs the cursor that a list printed. `start` is before
    /// the first event, `latest` behind the last
    #[arg(long, alias = "from", value_name = "CURSOR|start|latest", conflicts_with = "limit")]
    cursor: Option<String>,
    /// At most this many of the stored events, the latest; 0 for all [default: all of a run, 10 of all runs]
    #[arg(long, alias = "lines", short = 'n', value_name = "N")]
    limit: Option<u32>,
    /// Go on after the run ended, for events that come late
    #[arg(long)]
    keep_open: bool,
    /// Wait for a run that has no event yet
    #[arg(long)]
    wait: bool,
    /// How long to try again after a connection was lost; 0s for not at all
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    reconnect_for: Duration,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints events until the run ends.
pub async fn run(args: TailArgs) -> Result<(), Failure> {
    let mut printer = Printer::new(args.output.format(), Clock::Day);
    let followed = follow(&args.client, args.request(), args.reconnect_for, &mut printer).await;
    printer.end_failed(followed)?;
    printer.end()
}

impl TailArgs {
    fn request(&self) -> pb::SubscribeRequest {
        let scope = match self.scope.run() {
            Some(run) => Scope::RunId(run.to_owned()),
            None => Scope::AllRuns(pb::AllRuns {}),
        };
        let start = match (self.limit, self.cursor.as_deref(), &scope) {
            (Some(0), _, _) | (None, Some("start"), _) | (None, None, Scope::RunId(_)) => None,
            (Some(limit), _, _) => Some(Start::Tail(limit)),
            (None, Some("latest"), _) => Some(Start::Latest(pb::Latest {})),
            (None, Some(cursor), _) => Some(Start::Cursor(cursor.to_owned())),
            (None, None, Scope::AllRuns(_)) => Some(Start::Tail(10)),
        };
        pb::SubscribeRequest {
            scope: Some(scope),
            start,
            filter: self.filter.filter(),
            view: self.filter.view(),
            keep_open: self.keep_open,
            wait_for_run: self.wait,
            ..subscription()
        }
    }
}

/// Base of a subscription for a [`Printer`]: payloads as JSON, with heartbeats.
pub fn subscription() -> pb::SubscribeRequest {
    pb::SubscribeRequest {
        payload_format: pb::PayloadFormat::Json as i32,
        heartbeat_interval: Some(prost_types::Duration { seconds: HEARTBEAT_SECONDS, nanos: 0 }),
        ..Default::default()
    }
}

/// Reason of a stream that broke before the end of the run.
enum Cut {
    /// Permanent error: a retry cannot succeed.
    Final(Failure),
    /// Transient error: a new connection may resume from the cursor.
    Transient(Failure),
}

impl Cut {
    fn of(status: &Status) -> Self {
        let failure = Failure::of_status(status);
        if is_transient(status) { Self::Transient(failure) } else { Self::Final(failure) }
    }
}

/// Prints events until the run ends. After a lost connection, retries for at most `reconnect_for` and resumes from the
/// cursor; a failure of the first connection is returned at once.
pub async fn follow(
    client: &ClientArgs,
    mut request: pb::SubscribeRequest,
    reconnect_for: Duration,
    printer: &mut Printer,
) -> Result<(), Failure> {
    // Time of the last frame; `None` before the first frame.
    let mut last_frame: Option<Instant> = None;
    let mut backoff = Backoff::default();
    loop {
        let before = last_frame;
        let failure = match stream(client, &mut request, &mut last_frame, printer).await {
            Ok(()) => return Ok(()),
            Err(Cut::Final(failure)) => return Err(failure),
            Err(Cut::Transient(failure)) => failure,
        };
        if last_frame != before {
            backoff = Backoff::default();
        }
        if last_frame.is_none_or(|at| at.elapsed() >= reconnect_for) {
            return Err(failure);
        }
        backoff.pause(&failure, note).await;
    }
}

/// One connection. `Ok` after the last event of an ended run. Each frame advances the start cursor in `request`.
async fn stream(
    client: &ClientArgs,
    request: &mut pb::SubscribeRequest,
    last_frame: &mut Option<Instant>,
    printer: &mut Printer,
) -> Result<(), Cut> {
    let mut events = client.events().await.map_err(Cut::Transient)?;
    // The request has no deadline, since a deadline would end the stream.
    let call = events.subscribe(request.clone());
    let mut frames = client.answer(call).await.map_err(|status| Cut::of(&status))?;
    loop {
        let frame = match timeout(FRAME_TIMEOUT, frames.message()).await {
            Err(_) => return Err(cut(format!("nothing came for {} s", FRAME_TIMEOUT.as_secs()))),
            Ok(Err(status)) => return Err(Cut::of(&status)),
            Ok(Ok(None)) => return Err(cut("the stream was cut".to_owned())),
            Ok(Ok(Some(frame))) => frame,
        };
        *last_frame = Some(Instant::now());
        match frame.frame {
            Some(Frame::Events(batch)) => {
                let batch = batch.events().map_err(|error| Cut::Final(damaged(&error)))?;
                printer.events(&batch).and_then(|()| printer.flush()).map_err(Cut::Final)?;
            }
            Some(Frame::RunEnded(end)) => {
                note(&format!("-- the run has ended: {}, {} events", status_name(end.status), grouped(end.last_seq)));
                if !request.keep_open {
                    return Ok(());
                }
            }
            // No output, but the cursor has moved. `None` is a frame of a later version.
            Some(Frame::CaughtUp(_) | Frame::Heartbeat(_)) | None => {}
        }
        request.start = Some(Start::Cursor(frame.cursor));
        if !frame.epoch.is_empty() {
            request.epoch = frame.epoch;
        }
    }
}

fn cut(message: String) -> Cut {
    Cut::Transient(Failure::new(Exit::Unavailable, message))
}

fn damaged(error: &prost::DecodeError) -> Failure {
    Failure::new(Exit::Protocol, format!("the server sent events that do not decode: {error}"))
}
