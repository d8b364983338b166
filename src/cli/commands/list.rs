//! `runlog list`: stored events, page by page.

use clap::Args;

use crate::cli::client::ClientArgs;
use crate::cli::outcome::Failure;
use crate::cli::output::format::OutputArgs;
use crate::cli::output::printer::Printer;
use crate::cli::output::render::{Clock, note};
use crate::cli::scope::{FilterArgs, ScopeArgs};
use crate::pb::{self, list_events_request::Scope};

/// Page size in events.
const PAGE: u64 = 500;

/// The options of `runlog list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// At most this many of the stored events; 0 for all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Go on after this event: a sequence number in a run, and over all runs the cursor that a list printed
    #[arg(long, value_name = "CURSOR", default_value = "", hide_default_value = true)]
    cursor: String,
    /// The latest events first
    #[arg(long)]
    descending: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the stored events, page by page.
pub async fn run(args: ListArgs) -> Result<(), Failure> {
    let mut printer = Printer::new(args.output.format(), Clock::Day);
    let listed = list(&args, &mut printer).await;
    printer.end_failed(listed)
}

async fn list(args: &ListArgs, printer: &mut Printer) -> Result<(), Failure> {
    let mut events = args.client.events().await?;
    let scope = match args.scope.run() {
        Some(run) => Scope::RunId(run.to_owned()),
        None => Scope::AllRuns(pb::AllRuns {}),
    };
    let mut cursor = args.cursor.clone();
    let mut epoch = String::new();
    let mut left = if args.limit == 0 { u64::MAX } else { args.limit };
    loop {
        let request = pb::ListEventsRequest {
            scope: Some(scope.clone()),
            page_size: i32::try_from(left.min(PAGE)).unwrap_or(i32::MAX),
            cursor: cursor.clone(),
            descending: args.descending,
            filter: args.filter.filter(),
            payload_format: pb::PayloadFormat::Json as i32,
            view: args.filter.view(),
            epoch: std::mem::take(&mut epoch),
        };
        let call = events.list_events(args.client.request(request));
        let page = args.client.answer(call).await.map_err(|status| Failure::of_status(&status))?;
        printer.events(&page.events)?;
        printer.flush()?;
        left = left.saturating_sub(page.events.len() as u64);
        // Avoids an endless loop: a server may report more events with an unchanged cursor.
        let stuck = page.next_cursor == cursor;
        (cursor, epoch) = (page.next_cursor, page.epoch);
        if !page.has_more || stuck {
            return printer.end_list("no events");
        }
        if left == 0 {
            printer.end()?;
            note(&format!("there is more: go on with --cursor {cursor}, or see all with --limit 0"));
            return Ok(());
        }
    }
}
