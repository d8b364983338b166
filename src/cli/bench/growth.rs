//! Cost of many stored events: publish and page rates against the empty store, and the time to open the full store.

use std::time::Instant;

use futures_util::stream::{StreamExt as _, iter};

use super::args::{BenchArgs, TIMED_STAGES};
use super::bar::Bar;
use super::load::{self, Source};
use super::meter::{Figures, Tally, Window};
use super::target::Target;
use crate::cli::outcome::Failure;
use crate::pb;

/// Events in a publish that fills the store.
const FILL_BATCH: usize = 100;
/// Concurrent publishes that fill the store.
const FILLS_AT_A_TIME: usize = 64;
/// Events in a page.
const PAGE_EVENTS: u32 = 100;
/// Events of each run in the store that counts as empty: enough for full pages.
const EMPTY_EVENTS_PER_RUN: u64 = 200;

/// Measures, fills the store, measures again, and restarts the server if started here.
pub async fn growth(args: &BenchArgs, target: &mut Target) -> Result<Figures, Failure> {
    let before = target.usage();
    fill(args, target, u64::from(args.runs) * EMPTY_EVENTS_PER_RUN).await?;
    let empty = publish(args, target, "growth: publishing, empty store").await?;
    let empty_pages = pages(args, target, "growth: pages, empty store").await?;
    let rss_empty = target.usage();
    fill(args, target, args.events).await?;
    let rss_full = target.usage();
    let mut full = publish(args, target, "growth: publishing, full store").await?;
    let full_pages = pages(args, target, "growth: pages, full store").await?;

    full.add("stored_events", args.events as f64);
    full.add("publish_rate_of_that_of_the_empty_store", full.per_second() as f64 / empty.per_second().max(1) as f64);
    full.add("pages_per_second", full_pages.per_second() as f64);
    for (what, share) in [("page_p50_ms", 0.5), ("page_p99_ms", 0.99)] {
        full.add(what, full_pages.quantile_ms(share).unwrap_or_default());
    }
    for (what, share) in [("page_p50_ms_empty_store", 0.5), ("page_p99_ms_empty_store", 0.99)] {
        full.add(what, empty_pages.quantile_ms(share).unwrap_or_default());
    }
    if let (Some(empty), Some(full_store)) = (rss_empty, rss_full) {
        full.add("rss_mib_empty_store", empty.rss_mib);
        full.add("rss_mib_full_store", full_store.rss_mib);
    }
    // Sampled before the restart, since the CPU time of the next process starts at zero.
    full.usage_since(before, target.usage());
    if let Some(took) = target.restart(args).await? {
        full.add("open_after_kill_s", took.as_secs_f64());
        full.add("rss_mib_after_open", target.usage().map_or(0.0, |usage| usage.rss_mib));
    }
    Ok(full)
}

async fn publish(args: &BenchArgs, target: &Target, stage: &str) -> Result<Figures, Failure> {
    let _bar = Bar::timed(stage, args.time.mul_f64(TIMED_STAGES));
    load::calls(args, target, 64, 1).await
}

async fn fill(args: &BenchArgs, target: &Target, events: u64) -> Result<(), Failure> {
    let bar = Bar::counted("growth: filling the store", events);
    let mut source = Source::new(args, 0);
    let requests = (0..).map_while(|batch: usize| {
        let left = events.checked_sub((batch * FILL_BATCH) as u64).filter(|left| *left > 0)?;
        let count = usize::try_from(left).map_or(FILL_BATCH, |left| left.min(FILL_BATCH));
        let (mut client, request) = (target.events(batch), source.request(count));
        Some(async move { client.publish(request).await.map(|_| count as u64) })
    });
    let mut published = iter(requests).buffer_unordered(FILLS_AT_A_TIME);
    while let Some(count) = published.next().await {
        bar.add(count.map_err(|status| Failure::of_status(&status))?);
    }
    Ok(())
}

/// Reads pages at offsets spread over the runs, one call at a time.
async fn pages(args: &BenchArgs, target: &Target, stage: &str) -> Result<Figures, Failure> {
    let _bar = Bar::timed(stage, args.time.mul_f64(TIMED_STAGES));
    let (mut client, mut source) = (target.events(0), Source::new(args, 0));
    let (window, mut tally, mut offset) = (Window::start(args.time), Tally::default(), 0u64);
    while window.is_open() {
        let run_id = source.next_run();
        let last = last_seq(&mut client, &run_id).await?;
        // 2^64 divided by the golden ratio: such steps spread the offsets evenly over a run of any length.
        offset = offset.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let page = pb::ListEventsRequest {
            scope: Some(pb::list_events_request::Scope::RunId(run_id)),
            cursor: (offset % last.saturating_sub(PAGE_EVENTS.into()).max(1)).to_string(),
            page_size: PAGE_EVENTS.cast_signed(),
            payload_format: pb::PayloadFormat::Json.into(),
            view: pb::EventView::Full.into(),
            ..pb::ListEventsRequest::default()
        };
        let began = Instant::now();
        client.list_events(page).await.map_err(|status| Failure::of_status(&status))?;
        tally.add(&window, 1, began.elapsed());
    }
    Ok(Figures::new(tally, window.length()))
}

async fn last_seq(
    client: &mut pb::event_service_client::EventServiceClient<crate::cli::client::Connection>,
    run_id: &str,
) -> Result<u64, Failure> {
    let request = pb::ListEventsRequest {
        scope: Some(pb::list_events_request::Scope::RunId(run_id.to_owned())),
        page_size: 1,
        ..pb::ListEventsRequest::default()
    };
    let page = client.list_events(request).await.map_err(|status| Failure::of_status(&status))?;
    Ok(page.into_inner().last_seq)
}
