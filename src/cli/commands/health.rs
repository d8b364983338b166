//! `runlog health`: the standard health check, for scripts and container probes.

use clap::Args;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::cli::client::ClientArgs;
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::format::Format;
use crate::cli::output::printer::Printer;
use crate::cli::output::render::Clock;

/// The options of `runlog health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Ask about one service, for instance runlog.v1.EventService; without it about the server as a whole
    #[arg(long, default_value = "", hide_default_value = true)]
    service: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the status; an error unless SERVING.
pub async fn run(args: HealthArgs) -> Result<(), Failure> {
    let mut health = HealthClient::new(args.client.connect().await?);
    let call = health.check(args.client.request(HealthCheckRequest { service: args.service.clone() }));
    let answer = args.client.answer(call).await.map_err(|status| Failure::of_status(&status))?;
    let status = ServingStatus::try_from(answer.status).unwrap_or(ServingStatus::Unknown);
    if status != ServingStatus::Serving {
        return Err(Failure::new(Exit::Unavailable, format!("the server says {}", status.as_str_name())));
    }
    let mut printer = Printer::new(Format::Table, Clock::Day);
    printer.line(status.as_str_name())?;
    printer.flush()
}
