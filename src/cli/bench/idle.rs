//! Subscribers to whom nothing happens: the memory that each takes, and what their presence costs those who publish.

use std::time::Duration;

use futures_util::stream::{StreamExt as _, iter};
use tokio::task::JoinSet;

use super::bar::Bar;
use super::load::{self, Source};
use super::meter::Figures;
use super::read::subscribe;
use super::target::Target;
use super::{BenchArgs, TIMED_STAGES, unexpected};
use crate::cli::outcome::Failure;
use crate::cli::output::render::note;
use crate::pb;
use crate::pb::event_service_client::EventServiceClient;
use crate::pb::subscribe_response::Frame;

/// How long a subscription may take to be caught up. Past it, the server is taken to keep it waiting, as it does where one
/// connection has more calls than `--max-concurrent-streams`.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(10);

/// Subscriptions that are begun at a time.
const AT_A_TIME: usize = 64;

/// Publishes before they come, while they are there, and after they have left, so that a drift of the machine shows.
pub async fn idle(args: &BenchArgs, target: &Target) -> Result<Figures, Failure> {
    let before = timed(args, target, "idle: publishing without subscribers").await?;
    fill(args, target).await?;
    let rss_without = target.usage();
    let crowd = Crowd::gather(args, target).await?;
    let rss_with = target.usage();
    let mut during = timed(args, target, "idle: publishing beside subscribers").await?;
    let count = crowd.subscribers;
    crowd.leave().await;
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

/// One event for each run that is to be followed.
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

/// Subscribers that have been told all there is.
struct Crowd {
    subscribers: u32,
    following: JoinSet<()>,
}

impl Crowd {
    /// Each follows a run of its own. Where the server refuses one, that is said, and those before it stay.
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
            // Read on, or the heartbeats would fill the window.
            crowd.following.spawn(async move { while let Ok(Some(_)) = frames.message().await {} });
        }
        Ok(crowd)
    }

    /// Waits until all are gone on this side.
    async fn leave(mut self) {
        self.following.shutdown().await;
    }
}

/// A subscription that is caught up.
async fn begin(
    mut client: EventServiceClient<tonic::transport::Channel>,
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
