//! Subscribers without events: memory of each, and the effect on the publish rate.

use std::time::Duration;

use futures_util::stream::{StreamExt as _, iter};
use tokio::task::JoinSet;

use super::args::{BenchArgs, TIMED_STAGES, unexpected};
use super::bar::Bar;
use super::load::{self, Source};
use super::meter::Figures;
use super::read::subscribe;
use super::target::Target;
use crate::cli::outcome::Failure;
use crate::cli::output::render::note;
use crate::pb;
use crate::pb::event_service_client::EventServiceClient;
use crate::pb::subscribe_response::Frame;

/// Timeout from the Subscribe call to the CaughtUp frame. A server lets calls above `--max-concurrent-streams` of one
/// connection wait, which ends in this timeout.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(10);

/// Concurrent Publish or Subscribe calls during the setup.
const AT_A_TIME: usize = 64;

/// Measures the publish rate before, during and after the subscriptions. The mean of before and after evens out a drift of
/// the machine.
pub async fn idle(args: &BenchArgs, target: &Target) -> Result<Figures, Failure> {
    let before = timed(args, target, "idle: publishing without subscribers").await?;
    fill(args, target).await?;
    let rss_without = target.usage();
    let crowd = Crowd::gather(args, target).await?;
    let rss_with = target.usage();
    let mut during = timed(args, target, "idle: publishing beside subscribers").await?;
    let count = crowd.subscribers;
    crowd.close().await;
    let after = timed(args, target, "idle: publishing after they left").await?;

    during.add("subscribers", f64::from(count));
    during.add("connections_of_subscribers", f64::from(args.subscribers.div_ceil(args.subscribers_per_connection)));
    if let (Some(without), Some(with)) = (rss_without, rss_with) {
        during.add("kib_per_subscriber", (with.rss_mib - without.rss_mib) * 1024.0 / f64::from(count.max(1)));
    }
    let without = before.per_second() + after.per_second();
    during.add("publish_rate_of_that_without", during.per_second() as f64 * 2.0 / without.max(1) as f64);
    Ok(during)
}

async fn timed(args: &BenchArgs, target: &Target, stage: &str) -> Result<Figures, Failure> {
    let _bar = Bar::timed(stage, args.time.mul_f64(TIMED_STAGES));
    load::calls(args, target, 64, 1).await
}

fn run_of(subscriber: u32) -> String {
    format!("idle-{}-{subscriber}", std::process::id())
}

/// Publishes one event to the run of each subscriber.
async fn fill(args: &BenchArgs, target: &Target) -> Result<(), Failure> {
    let bar = Bar::counted("idle: one event for each run", args.subscribers.into());
    let source = Source::new(args, 0);
    let publish = |subscriber: u32| {
        let (mut client, events) = (target.events(subscriber as usize), vec![source.event()]);
        async move {
            let request = pb::PublishRequest { run_id: run_of(subscriber), events, expected_last_seq: None };
            client.publish(request).await
        }
    };
    let mut published = iter((0..args.subscribers).map(publish)).buffer_unordered(AT_A_TIME);
    while let Some(answer) = published.next().await {
        answer.map_err(|status| Failure::of_status(&status))?;
        bar.add(1);
    }
    Ok(())
}

/// Subscribers that are caught up.
struct Crowd {
    subscribers: u32,
    following: JoinSet<()>,
}

impl Crowd {
    /// Subscribes to one run for each subscriber. Stops with a note at the first refusal; earlier subscribers stay.
    async fn gather(args: &BenchArgs, target: &Target) -> Result<Self, Failure> {
        let connections = args.subscribers.div_ceil(args.subscribers_per_connection);
        let channels = target.connect(connections).await?;
        let mut crowd = Self { subscribers: 0, following: JoinSet::new() };
        let bar = Bar::counted("idle: subscribing", args.subscribers.into());
        let client = |subscriber: u32| EventServiceClient::new(channels[(subscriber % connections) as usize].clone());
        let each = (0..args.subscribers).map(|subscriber| begin(client(subscriber), run_of(subscriber)));
        let mut begun = iter(each).buffer_unordered(AT_A_TIME);
        while let Some(begun) = begun.next().await {
            let mut frames = match begun {
                Ok(frames) => frames,
                Err(refusal) => {
                    let (count, asked) = (crowd.subscribers, args.subscribers);
                    drop(bar);
                    note(&format!("the server took {count} of {asked} subscribers, then: {}", refusal.text()));
                    break;
                }
            };
            bar.add(1);
            crowd.subscribers += 1;
            // Reads on, otherwise heartbeats would fill the HTTP/2 flow-control window.
            crowd.following.spawn(async move { while let Ok(Some(_)) = frames.message().await {} });
        }
        Ok(crowd)
    }

    /// Cancels all subscriptions and waits for the end of the tasks.
    async fn close(mut self) {
        self.following.shutdown().await;
    }
}

/// Subscribes and waits for the CaughtUp frame.
async fn begin(
    mut client: EventServiceClient<crate::cli::client::Connection>,
    run_id: String,
) -> Result<tonic::Streaming<pb::SubscribeResponse>, Failure> {
    let caught_up = async {
        let mut frames = client.subscribe(subscribe(&run_id)).await?.into_inner();
        while let Some(frame) = frames.message().await? {
            if matches!(frame.frame, Some(Frame::CaughtUp(_))) {
                return Ok(frames);
            }
        }
        Err(tonic::Status::data_loss("the subscription ended"))
    };
    match tokio::time::timeout(CAUGHT_UP_WITHIN, caught_up).await {
        Ok(frames) => frames.map_err(|status: tonic::Status| Failure::of_status(&status)),
        Err(_) => Err(unexpected(&format!("a subscription was not caught up within {CAUGHT_UP_WITHIN:?}"))),
    }
}
