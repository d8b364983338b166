//! Callers over their limits beside polite ones: a greedy key, and a flood of keys that are not valid.

use std::time::Duration;

use runlog::pb;
use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::key_service_client::KeyServiceClient;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::client::{large_publish, reason};
use crate::harness::{Data, Server, within};

const ADMIN: &str = "key_admin:0123456789abcdefghijklmnop";
const UNKNOWN: &str = "key_unknown:0123456789abcdefghijklmnop";

/// Requests a second of one key.
const LIMIT: &str = "50";

/// Time from one call of a polite caller to the next: fewer calls than the limit, however fast the server is.
const PAUSE: Duration = Duration::from_millis(25);

const POLITE_CALLERS: usize = 10;

/// Connections of the greedy caller, each with one call at a time.
const FLOODS: u32 = 4;

/// Time until a refusal is answered.
const REFUSAL_DELAY: Duration = Duration::from_millis(100);

const POLITE_CALLS: usize = 100;

type Calls = InterceptedService<Channel, WithKey>;

/// Sends a key with each call.
#[derive(Clone)]
struct WithKey(MetadataValue<Ascii>);

impl tonic::service::Interceptor for WithKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A connection whose calls carry this key.
async fn calls(server: &Server, key: &str) -> Calls {
    let header = MetadataValue::try_from(format!("Bearer {key}")).unwrap();
    InterceptedService::new(server.channel().await, WithKey(header))
}

/// A server with the first key, whose metrics need none.
async fn with_keys(data: &Data, options: &[&str]) -> Server {
    let file = data.directory().join("admin.key");
    std::fs::write(&file, ADMIN).unwrap();
    let keys = ["--admin-key-file", file.to_str().unwrap(), "--open-routes", "metrics"];
    Server::with(&data.file(), &[&keys, options].concat()).await
}

/// Creates a key that may publish.
async fn key(server: &Server) -> String {
    let scopes = vec!["events.publish".to_owned()];
    let request = pb::CreateKeyRequest { name: "test".to_owned(), scopes, ..Default::default() };
    let created = KeyServiceClient::new(calls(server, ADMIN).await).create_key(request).await.unwrap();
    created.into_inner().secret_key
}

/// Publishes at the pace of a polite caller, on a connection of its own. Returns how long each call took; no call fails.
async fn polite(calls: Calls, run_id: String) -> Vec<Duration> {
    let mut client = EventServiceClient::new(calls);
    let mut times = Vec::with_capacity(POLITE_CALLS);
    for _ in 0..POLITE_CALLS {
        let began = Instant::now();
        let published = within("an answer to a polite caller", client.publish(large_publish(&run_id, 1, 200))).await;
        published.expect("no call of a polite caller fails");
        times.push(began.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    times
}

/// The 99th percentile of the calls of all polite callers, each with a key of its own.
async fn p99(server: &Server, keys: &[String]) -> Duration {
    let mut callers = JoinSet::new();
    for (n, key) in keys.iter().enumerate() {
        callers.spawn(polite(calls(server, key).await, format!("polite-{n}")));
    }
    let mut times: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greedy_key_is_refused_at_a_slow_pace_beside_ten_polite_ones_that_are_not() {
    let data = Data::new();
    let server = with_keys(&data, &["--key-requests-per-second", LIMIT]).await;
    let mut keys = Vec::new();
    for _ in 0..POLITE_CALLERS {
        keys.push(key(&server).await);
    }
    let greedy = key(&server).await;
    let alone = p99(&server, &keys).await;

    let mut floods = JoinSet::new();
    let began = Instant::now();
    for _ in 0..FLOODS {
        let mut client = EventServiceClient::new(calls(&server, &greedy).await);
        floods.spawn(async move {
            loop {
                if let Err(status) = client.publish(large_publish("greedy", 1, 200)).await {
                    let refused = (status.code(), reason(&status));
                    assert_eq!(refused, (Code::ResourceExhausted, "RATE_LIMITED".to_owned()));
                }
            }
        });
    }
    let beside = p99(&server, &keys).await;
    assert!(floods.try_join_next().is_none(), "the greedy caller goes on, and is refused for its limit only");
    let longest = began.elapsed();
    floods.abort_all();
    let refused = server.metric("runlog_rate_limited_total{limit=\"requests\"}").await;
    println!("a greedy key: {refused} refusals, p99 of polite ones {beside:?}, alone {alone:?}");
    let most = (longest.as_secs_f64() / REFUSAL_DELAY.as_secs_f64() + 1.0) * f64::from(FLOODS);
    assert!(refused > 0.0 && refused <= most, "{refused} refusals in {longest:?}, at most {most} at their pace");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_keys_that_are_not_valid_does_not_reach_the_store_and_good_keys_go_on() {
    const CONNECTIONS: usize = 8;
    const KEYS: usize = 200;
    let data = Data::new();
    let server = with_keys(&data, &["--address-failed-keys-per-minute", "10"]).await;
    let good = key(&server).await;
    let good = calls(&server, &good).await;
    // A key in use, as the server knows it from here on.
    EventServiceClient::new(good.clone()).publish(large_publish("polite", 1, 200)).await.unwrap();
    let good = tokio::spawn(polite(good, "polite".to_owned()));
    let mut floods = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut client = EventServiceClient::new(calls(&server, UNKNOWN).await);
        floods.spawn(async move {
            let mut over = 0;
            for _ in 0..KEYS {
                let status = client.publish(large_publish("r", 1, 200)).await.unwrap_err();
                match (status.code(), reason(&status).as_str()) {
                    (Code::Unauthenticated, "API_KEY_INVALID") => {}
                    (Code::ResourceExhausted, "RATE_LIMITED") => over += 1,
                    other => panic!("{other:?}"),
                }
            }
            over
        });
    }
    let over: usize = floods.join_all().await.into_iter().sum();
    good.await.unwrap();
    let lookups = server.metric("runlog_key_lookups_total").await;
    println!("{} bad keys: {over} refused at once, {lookups} looks into the store", CONNECTIONS * KEYS);
    assert!(over > 0 && lookups < (CONNECTIONS * KEYS) as f64 / 4.0);
}
