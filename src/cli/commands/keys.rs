//! `runlog keys`: creates, lists, revokes and rotates keys, on a server or on a store that no server owns.

use std::time::Duration;

use anstyle::Style;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::cli::calls::{self, Callee, Calls};
use crate::cli::client::{ClientArgs, duration};
use crate::cli::outcome::Failure;
use crate::cli::output::format::OutputArgs;
use crate::cli::output::printer::Printer;
use crate::cli::output::render::{Clock, note};
use crate::cli::output::text::{clean, cut, instant, local_time};
use crate::domain::ProjectId;
use crate::pb::key_service_client::KeyServiceClient;
use crate::pb::{self, Key};

const DIM: Style = Style::new().dimmed();
const NAME: Style = Style::new().bold();
const TIME: &str = "%Y-%m-%d %H:%M:%S";
const PAGE: i32 = 100;

/// The options of `runlog keys`.
#[derive(Debug, Args)]
#[command(after_help = "\
As soon as a store holds a key, every call to its servers needs one. The first key is made on the store itself, while no \
server owns it (--data) or at any time (--store), or by `runlog serve --admin-key-file`. All others need a key with the scope \
admin (--key or RUNLOG_KEY), or the store itself.

Scopes:
  events.publish         publish events of origin USER
  events.publish_system  publish events of origin SYSTEM, beside events.publish: for the runtime of the agents
  events.read            list and follow events, read runs
  events.read_sensitive  read payloads in full, beside events.read
  runs.write             create, signal, cancel and resume runs
  admin                  manage keys, erase payloads, hold runs")]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key and print it, once
    Create(CreateArgs),
    /// List all keys, without their secrets
    List(ListArgs),
    /// End a key: within seconds no server accepts it
    Revoke(RevokeArgs),
    /// Replace a key by a new one with the same scopes; both work for a while
    Rotate(RotateArgs),
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Name of the key, for people
    #[arg(long)]
    name: String,
    /// What the key allows; may be given several times
    #[arg(long = "scope", value_enum, required = true, value_name = "SCOPE", value_delimiter = ',')]
    scopes: Vec<ScopeArg>,
    /// Project of the runs that the key reads and writes; made if it is new. Without it that of the key that asks
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
    /// Time until the key expires, for instance 24h or 720h; without it the key does not expire
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expires: Option<Duration>,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
struct RevokeArgs {
    /// Id of the key
    #[arg(value_name = "KEY_ID")]
    key_id: String,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
struct RotateArgs {
    /// Id of the key to replace
    #[arg(value_name = "KEY_ID")]
    key_id: String,
    /// How long the replaced key goes on; 0s: it ends at once
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    overlap: Duration,
    /// Time until the new key expires; needed where the replaced key expires
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expires: Option<Duration>,
    #[command(flatten)]
    target: TargetArgs,
}

/// Where the keys are, and how they are printed.
#[derive(Debug, Args)]
struct TargetArgs {
    #[command(flatten)]
    place: calls::PlaceArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScopeArg {
    #[value(name = "events.publish")]
    EventsPublish,
    #[value(name = "events.publish_system")]
    EventsPublishSystem,
    #[value(name = "events.read")]
    EventsRead,
    #[value(name = "events.read_sensitive")]
    EventsReadSensitive,
    #[value(name = "runs.write")]
    RunsWrite,
    #[value(name = "admin")]
    Admin,
}

impl ScopeArg {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// Runs the command on the server or the store.
pub async fn run(args: KeysArgs) -> Result<(), Failure> {
    match args.command {
        KeysCommand::Create(args) => create(args).await,
        KeysCommand::List(args) => list(&args.target).await,
        KeysCommand::Revoke(args) => revoke(args).await,
        KeysCommand::Rotate(args) => rotate(args).await,
    }
}

async fn create(args: CreateArgs) -> Result<(), Failure> {
    let request = pb::CreateKeyRequest {
        name: args.name,
        project: args.project.unwrap_or_default(),
        scopes: args.scopes.into_iter().map(ScopeArg::name).collect(),
        expires_in: args.expires.map(wire),
    };
    let place = &args.target;
    let answer = place.call(true, async |mut keys| keys.create_key(place.client.request(request)).await).await?;
    let key = answer.key.unwrap_or_default();
    print(place, &line(&key, Some(&answer.secret_key)), &issued(&key, &answer.secret_key))?;
    note("this is shown once; a caller sends it as `Authorization: Bearer …`, and the command line reads RUNLOG_KEY");
    Ok(())
}

async fn list(place: &TargetArgs) -> Result<(), Failure> {
    let mut printer = Printer::new(place.output.format(), Clock::Day).with_header(header());
    let callee = printer.end_failed(place.callee(false).await)?;
    let listed = async {
        let mut keys = KeyServiceClient::new(callee.calls.clone());
        let mut request = pb::ListKeysRequest { page_size: PAGE, ..Default::default() };
        loop {
            let call = keys.list_keys(place.client.request(request.clone()));
            let page = place.client.answer(call).await.map_err(|status| Failure::of_status(&status))?;
            for key in &page.keys {
                printer.result(|| Ok(line(key, None)), || row(key, &TimeZone::system()))?;
            }
            printer.flush()?;
            if !page.has_more {
                return printer.end_list("no keys");
            }
            request.cursor = page.next_cursor;
        }
    };
    let listed = listed.await;
    callee.close().await;
    printer.end_failed(listed)
}

async fn revoke(args: RevokeArgs) -> Result<(), Failure> {
    let place = &args.target;
    let request = pb::RevokeKeyRequest { key_id: args.key_id };
    let answer = place.call(false, async |mut keys| keys.revoke_key(place.client.request(request)).await).await?;
    let key = answer.key.unwrap_or_default();
    print(place, &line(&key, None), &format!("{NAME}{}{NAME:#} is revoked", key.key_id))
}

async fn rotate(args: RotateArgs) -> Result<(), Failure> {
    let place = &args.target;
    let (overlap, expires_in) = (Some(wire(args.overlap)), args.expires.map(wire));
    let request = pb::RotateKeyRequest { key_id: args.key_id, overlap, expires_in };
    let answer = place.call(false, async |mut keys| keys.rotate_key(place.client.request(request)).await).await?;
    let (key, replaced) = (answer.key.unwrap_or_default(), answer.replaced.unwrap_or_default());
    print(place, &line(&key, Some(&answer.secret_key)), &issued(&key, &answer.secret_key))?;
    let until = local_time(replaced.expires_at.as_ref(), &TimeZone::system(), TIME);
    note(&format!("{} goes on until {until}; this is shown once", replaced.key_id));
    Ok(())
}

impl TargetArgs {
    /// The server, or the store; `makes_store`: also one that does not exist or has to be migrated.
    async fn callee(&self, makes_store: bool) -> Result<Callee, Failure> {
        let Some(store) = self.place.store() else { return Callee::server(&self.client).await };
        if makes_store { Callee::new_store(&store).await } else { Callee::store(&store, &ProjectId::default()).await }
    }

    /// One call, and the end of the connection or the store.
    async fn call<T>(
        &self,
        makes_store: bool,
        call: impl AsyncFnOnce(KeyServiceClient<Calls>) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, Failure> {
        let callee = self.callee(makes_store).await?;
        let answer = self.client.answer(call(KeyServiceClient::new(callee.calls.clone()))).await;
        callee.close().await;
        answer.map_err(|status| Failure::of_status(&status))
    }
}

fn print(place: &TargetArgs, json: &str, text: &str) -> Result<(), Failure> {
    Printer::new(place.output.format(), Clock::Day).only(|| Ok(json.to_owned()), || text.to_owned())
}

fn issued(key: &Key, secret_key: &str) -> String {
    let scopes = key.scopes.join(" ");
    let lines = [("key", secret_key), ("name", &clean(&key.name)), ("project", &key.project), ("scopes", &scopes)];
    lines.map(|(name, value)| format!("{DIM}{name:<8}{DIM:#} {value}")).join("\n")
}

/// A key as one JSON line; `secret_key` for a new one only.
fn line(key: &Key, secret_key: Option<&str>) -> String {
    let time = |at: Option<&prost_types::Timestamp>| {
        at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok()).map(|at| at.to_string())
    };
    let mut line = json!({
        "key_id": key.key_id,
        "project": key.project,
        "name": key.name,
        "scopes": key.scopes,
        "created_at": time(key.created_at.as_ref()),
        "expires_at": time(key.expires_at.as_ref()),
        "revoked_at": time(key.revoked_at.as_ref()),
        "last_used_at": time(key.last_used_at.as_ref()),
    });
    if let (Some(secret_key), Some(line)) = (secret_key, line.as_object_mut()) {
        line.insert("key".to_owned(), secret_key.into());
    }
    line.to_string()
}

fn header() -> String {
    let (key, state, used, name, scopes) = ("KEY", "STATE", "LAST USED", "NAME", "SCOPES");
    format!("{DIM}{key:<24}  {state:<27}  {used:<19}  {name:<20}  {scopes}{DIM:#}")
}

fn row(key: &Key, zone: &TimeZone) -> String {
    let used = local_time(key.last_used_at.as_ref(), zone, TIME);
    let name = clean(&key.name);
    let (state, name) = (state(key, zone, Timestamp::now()), cut(&name, 20));
    format!("{:<24}  {state:<27}  {used:<19}  {name:<20}  {}", key.key_id, key.scopes.join(" "))
}

fn state(key: &Key, zone: &TimeZone, now: Timestamp) -> String {
    match (&key.revoked_at, instant(key.expires_at.as_ref())) {
        (Some(_), _) => "revoked".to_owned(),
        (None, Some(at)) if at <= now => "expired".to_owned(),
        (None, Some(_)) => format!("until {}", local_time(key.expires_at.as_ref(), zone, TIME)),
        (None, None) => "valid".to_owned(),
    }
}

fn wire(duration: Duration) -> prost_types::Duration {
    // The options allow a year at most.
    prost_types::Duration::try_from(duration).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key {
            key_id: "key_0199a3c4e5f61a2b3c4d".into(),
            project: "default".into(),
            name: "ci\u{1b}[2J".into(),
            scopes: vec!["events.publish".into(), "events.read".into()],
            expires_at: Some(prost_types::Timestamp { seconds: 100, nanos: 0 }),
            ..Default::default()
        }
    }

    #[test]
    fn a_row_shows_whether_a_key_works_and_never_a_control_character() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        assert_eq!(state(&key(), &TimeZone::UTC, at(99)), "until 1970-01-01 00:01:40");
        assert_eq!(state(&key(), &TimeZone::UTC, at(100)), "expired");
        let revoked = Key { revoked_at: key().expires_at, ..key() };
        assert_eq!(state(&revoked, &TimeZone::UTC, at(0)), "revoked");
        assert_eq!(state(&Key { expires_at: None, ..key() }, &TimeZone::UTC, at(0)), "valid");
        let row = row(&key(), &TimeZone::UTC);
        assert!(!row.contains('\u{1b}') && row.contains("events.publish events.read"), "{row}");
    }

    #[test]
    fn every_scope_of_the_service_is_an_option() {
        use crate::domain::KeyScope;
        let options: Vec<String> = ScopeArg::value_variants().iter().map(|scope| scope.name()).collect();
        assert_eq!(options, KeyScope::ALL.map(|scope| scope.to_string()));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line(&key(), None)).unwrap()["key"], json!(null));
    }
}
