//! Source of an export: a server, or a store opened in this process. Both answer the same gRPC calls.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use tonic::{Code, Response, Status};

use super::line::Bound;
use crate::cli::backoff::Backoff;
use crate::cli::calls::{Callee, Calls};
use crate::cli::client::{ClientArgs, is_transient};
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::render::note;
use crate::config::StoreOptions;
use crate::domain::{FeedCursor, ProjectId};
use crate::pb;
use crate::pb::event_service_client::EventServiceClient;
use crate::pb::key_service_client::KeyServiceClient;
use crate::pb::list_events_request::Scope;
use crate::pb::run_service_client::RunServiceClient;

/// Page size, events. A server with a lower `--max-page-size` refuses this size.
const PAGE: u64 = 1_000;
/// Limit of concurrent GetRun calls.
const RUNS_AT_ONCE: usize = 16;
/// Limit of a received message, bytes: above the largest page of a server.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// gRPC clients of the exported server or store.
pub struct Source {
    events: EventServiceClient<Calls>,
    runs: RunServiceClient<Calls>,
    keys: KeyServiceClient<Calls>,
    client: ClientArgs,
    /// How long transient errors of one call are retried.
    retry_for: Duration,
    /// The server refused [`PAGE`]; page size 0 leaves the choice to the server.
    small_pages: bool,
    callee: Callee,
}

impl Source {
    /// Reads from a server. Transient errors of a call are retried for `retry_for`.
    pub async fn server(client: ClientArgs, retry_for: Duration) -> Result<Self, Failure> {
        Ok(Self::of(Callee::server(&client).await?, client, retry_for))
    }

    /// Opens a store in this process: a SQLite file without a server, or a PostgreSQL database.
    pub async fn store(store: &StoreOptions, project: &ProjectId, client: ClientArgs) -> Result<Self, Failure> {
        Ok(Self::of(Callee::store(store, project).await?, client, Duration::ZERO))
    }

    fn of(callee: Callee, client: ClientArgs, retry_for: Duration) -> Self {
        let events = EventServiceClient::new(callee.calls.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let runs = RunServiceClient::new(callee.calls.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let keys = KeyServiceClient::new(callee.calls.clone());
        Self { events, runs, keys, client, retry_for, small_pages: false, callee }
    }

    /// Closes the store, if opened here.
    pub async fn close(self) {
        self.callee.close().await;
    }

    /// Cursor of the present end of the feed.
    pub async fn feed_end(&self) -> Result<FeedCursor, Failure> {
        let scope = Scope::AllRuns(pb::AllRuns {});
        let request =
            pb::ListEventsRequest { scope: Some(scope), page_size: 1, descending: true, ..Default::default() };
        let page =
            self.call(async || self.events.clone().list_events(self.client.request(request.clone())).await).await?;
        FeedCursor::parse(&page.next_cursor).map_err(|_| unknown_cursor())
    }

    /// Position of the feed before the first event that is kept.
    pub async fn before_feed(&self, end: &FeedCursor) -> Result<u64, Failure> {
        let scope = Scope::AllRuns(pb::AllRuns {});
        let request = pb::ListEventsRequest { scope: Some(scope), page_size: 1, ..Default::default() };
        let page =
            self.call(async || self.events.clone().list_events(self.client.request(request.clone())).await).await?;
        let next = FeedCursor::parse(&page.next_cursor).map_err(|_| unknown_cursor())?;
        Ok(if page.events.is_empty() { end.position } else { next.position - 1 })
    }

    /// The project of the source; `None`: a server of a version without projects.
    pub async fn project(&self) -> Result<Option<String>, Failure> {
        let ask = async || match self.keys.clone().get_caller(self.client.request(pb::GetCallerRequest {})).await {
            Err(status) if status.code() == Code::Unimplemented => Ok(Response::new(pb::GetCallerResponse::default())),
            answer => answer,
        };
        Ok(Some(self.call(ask).await?.project).filter(|project| !project.is_empty()))
    }

    /// Last seq of a run.
    pub async fn run_end(&self, run_id: &str) -> Result<u64, Failure> {
        Ok(self.run(run_id.to_owned()).await?.last_seq)
    }

    /// A run as the bounds of its events.
    pub async fn bound(&self, run_id: &str) -> Result<Bound, Failure> {
        let run = self.run(run_id.to_owned()).await?;
        // A server of a version without retention does not say where a run begins.
        Ok(Bound { run_id: run.run_id, after: run.first_seq.saturating_sub(1), last_seq: run.last_seq })
    }

    /// Events after the cursor: at least one, at most `most`.
    pub async fn page(&mut self, scope: &Scope, cursor: String, most: u64) -> Result<Vec<pb::Event>, Failure> {
        let request = |page_size| pb::ListEventsRequest {
            scope: Some(scope.clone()),
            page_size,
            cursor: cursor.clone(),
            payload_format: pb::PayloadFormat::Json as i32,
            view: pb::EventView::Full as i32,
            ..Default::default()
        };
        let full = if self.small_pages { 0 } else { i32::try_from(most.min(PAGE)).unwrap_or(i32::MAX) };
        let ask = async |page_size| {
            self.call(async || self.events.clone().list_events(self.client.request(request(page_size))).await).await
        };
        let answer = match ask(full).await {
            Err(failure) if full > 0 && failure.field.as_deref() == Some("page_size") => {
                let answer = ask(0).await;
                self.small_pages = true;
                answer
            }
            answer => answer,
        };
        let mut events = answer?.events;
        events.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        if events.is_empty() {
            return Err(Failure::new(Exit::Protocol, "the server lost events that it had when the export began"));
        }
        Ok(events)
    }

    /// The runs with these ids, in their order.
    pub async fn runs(&self, run_ids: Vec<String>) -> Result<Vec<pb::Run>, Failure> {
        futures_util::stream::iter(run_ids).map(|run_id| self.run(run_id)).buffered(RUNS_AT_ONCE).try_collect().await
    }

    async fn run(&self, run_id: String) -> Result<pb::Run, Failure> {
        let request = pb::GetRunRequest { run_id };
        let answer = self.call(async || self.runs.clone().get_run(self.client.request(request.clone())).await).await?;
        answer.run.ok_or_else(|| Failure::new(Exit::Protocol, "the server sent no run"))
    }

    /// Retries transient errors with backoff, for at most `retry_for`.
    async fn call<T>(&self, call: impl AsyncFn() -> Result<Response<T>, Status>) -> Result<T, Failure> {
        let began = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            let status = match self.client.answer(call()).await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            let failure = Failure::of_status(&status);
            if !is_transient(&status) || began.elapsed() >= self.retry_for {
                return Err(failure);
            }
            backoff.pause(&failure, note).await;
        }
    }
}

fn unknown_cursor() -> Failure {
    Failure::new(Exit::Protocol, "the server sent a cursor that this version does not know")
}
