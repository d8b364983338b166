//! `runlog.v1.RunService`.

use tonic::{Request, Response, Status};

use crate::domain::{AgentName, Error, Result, RunId, StructureId};
use crate::pb;
use crate::service::Service;
use crate::service::access::IssuedStreamToken;
use crate::service::control::Control;
use crate::service::erase::{EraseEvents, Erased};
use crate::service::runs::{CreateRun, ListRuns};
use crate::transport::caller::called;
use crate::transport::rest::request_id;
use crate::transport::{convert, status};

/// Handler of the calls to `runlog.v1.RunService`.
#[derive(Clone)]
pub struct RunHandler {
    service: Service,
}

impl RunHandler {
    /// A handler that calls this service.
    #[must_use]
    pub fn new(service: Service) -> Self {
        Self { service }
    }
}

#[tonic::async_trait]
impl pb::run_service_server::RunService for RunHandler {
    async fn create_run(
        &self,
        request: Request<pb::CreateRunRequest>,
    ) -> Result<Response<pb::CreateRunResponse>, Status> {
        let created = create(&called(&self.service, request.extensions()), request.into_inner()).await;
        created.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn get_run(&self, request: Request<pb::GetRunRequest>) -> Result<Response<pb::GetRunResponse>, Status> {
        let run = get(&called(&self.service, request.extensions()), request.get_ref()).await;
        run.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn cancel_run(
        &self,
        request: Request<pb::CancelRunRequest>,
    ) -> Result<Response<pb::CancelRunResponse>, Status> {
        let run = cancel(&called(&self.service, request.extensions()), request.get_ref()).await;
        run.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn signal_run(
        &self,
        request: Request<pb::SignalRunRequest>,
    ) -> Result<Response<pb::SignalRunResponse>, Status> {
        let run = signal(&called(&self.service, request.extensions()), request.into_inner()).await;
        run.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn resume_run(
        &self,
        request: Request<pb::ResumeRunRequest>,
    ) -> Result<Response<pb::ResumeRunResponse>, Status> {
        let run = resume(&called(&self.service, request.extensions()), request.get_ref()).await;
        run.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn list_runs(&self, request: Request<pb::ListRunsRequest>) -> Result<Response<pb::ListRunsResponse>, Status> {
        let page = list(&called(&self.service, request.extensions()), request.into_inner()).await;
        page.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn get_usage(&self, request: Request<pb::GetUsageRequest>) -> Result<Response<pb::GetUsageResponse>, Status> {
        let report = usage(&called(&self.service, request.extensions()), request.into_inner()).await;
        report.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn erase_events(
        &self,
        request: Request<pb::EraseEventsRequest>,
    ) -> Result<Response<pb::EraseEventsResponse>, Status> {
        let erased = erase(&called(&self.service, request.extensions()), request.get_ref()).await;
        erased.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn hold_run(&self, request: Request<pb::HoldRunRequest>) -> Result<Response<pb::HoldRunResponse>, Status> {
        let run = hold(&called(&self.service, request.extensions()), &request.get_ref().run_id, true).await;
        let held = run.map(|run| pb::HoldRunResponse { run: Some(run) });
        held.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn release_run(
        &self,
        request: Request<pb::ReleaseRunRequest>,
    ) -> Result<Response<pb::ReleaseRunResponse>, Status> {
        let run = hold(&called(&self.service, request.extensions()), &request.get_ref().run_id, false).await;
        let released = run.map(|run| pb::ReleaseRunResponse { run: Some(run) });
        released.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn create_stream_token(
        &self,
        request: Request<pb::CreateStreamTokenRequest>,
    ) -> Result<Response<pb::CreateStreamTokenResponse>, Status> {
        let issued = create_stream_token(&called(&self.service, request.extensions()), request.get_ref()).await;
        issued.map(Response::new).map_err(|error| status::from_error(&error))
    }
}

async fn create(service: &Service, request: pb::CreateRunRequest) -> Result<pb::CreateRunResponse> {
    let first_event = request.first_event.map(|event| convert::new_event(event, service.limits()));
    let create = CreateRun {
        run_id: convert::optional(&request.run_id, RunId::parse)?,
        idempotency_key: Some(request.idempotency_key).filter(|key| !key.is_empty()),
        agent_name: convert::optional(&request.agent_name, AgentName::parse)?,
        structure_id: convert::optional(&request.structure_id, StructureId::parse)?,
        first_event: first_event.transpose().map_err(|error| error.under("first_event"))?,
    };
    let (run, already_existed) = service.create_run(create).await?;
    Ok(pb::CreateRunResponse { run: Some(convert::run(run)), already_existed })
}

async fn list(service: &Service, request: pb::ListRunsRequest) -> Result<pb::ListRunsResponse> {
    let pb::ListRunsRequest {
        page_size,
        cursor,
        statuses,
        agent_name,
        structure_id,
        created_from,
        created_until,
        text,
    } = request;
    let created = [created_from, created_until];
    let filter = convert::run_filter(&statuses, &agent_name, &structure_id, created, &text)?;
    let list = ListRuns { filter, cursor, page_size: convert::page_size(page_size)? };
    let page = service.list_runs(list).await?;
    let runs = page.runs.into_iter().map(convert::run).collect();
    let has_more = !page.next_cursor.is_empty();
    Ok(pb::ListRunsResponse { runs, next_cursor: page.next_cursor, has_more })
}

async fn usage(service: &Service, request: pb::GetUsageRequest) -> Result<pb::GetUsageResponse> {
    let pb::GetUsageRequest { group_by, statuses, agent_name, structure_id, created_from, created_until, text } =
        request;
    let created = [created_from, created_until];
    let filter = convert::run_filter(&statuses, &agent_name, &structure_id, created, &text)?;
    let group_by = convert::usage_grouping(group_by)?;
    service.usage(filter, group_by).await.map(convert::usage_report)
}

async fn get(service: &Service, request: &pb::GetRunRequest) -> Result<pb::GetRunResponse> {
    let run = service.run(&RunId::parse(&request.run_id)?).await?;
    Ok(pb::GetRunResponse { run: Some(convert::run(run)) })
}

async fn cancel(service: &Service, request: &pb::CancelRunRequest) -> Result<pb::CancelRunResponse> {
    let run = control(service, &request.run_id, Control::Cancel, "").await?;
    Ok(pb::CancelRunResponse { run: Some(run) })
}

async fn signal(service: &Service, request: pb::SignalRunRequest) -> Result<pb::SignalRunResponse> {
    use pb::SignalAction::{Approve, Reject, SubmitInput, Unspecified};
    let payload = request.payload_json;
    let signal = match pb::SignalAction::try_from(request.action) {
        Ok(Approve) => Control::Approve { payload },
        Ok(Reject) => Control::Reject { payload },
        Ok(SubmitInput) => Control::SubmitInput { payload },
        Ok(Unspecified) | Err(_) => {
            return Err(Error::invalid("action", "must be APPROVE, REJECT or SUBMIT_INPUT"));
        }
    };
    let run = control(service, &request.run_id, signal, &request.idempotency_key).await.map_err(in_payload_json)?;
    Ok(pb::SignalRunResponse { run: Some(run) })
}

/// Names the payload of a control as the request spells it.
fn in_payload_json(error: Error) -> Error {
    let inside =
        error.field().and_then(|field| field.strip_prefix("payload").map(|rest| format!("payload_json{rest}")));
    match inside {
        Some(field) => error.with_field(field),
        None => error,
    }
}

async fn resume(service: &Service, request: &pb::ResumeRunRequest) -> Result<pb::ResumeRunResponse> {
    let run = control(service, &request.run_id, Control::Resume, &request.idempotency_key).await?;
    Ok(pb::ResumeRunResponse { run: Some(run) })
}

/// An empty key means absent.
async fn control(service: &Service, run_id: &str, control: Control, key: &str) -> Result<pb::Run> {
    let key = Some(key).filter(|key| !key.is_empty());
    service.control(&RunId::parse(run_id)?, control, key, &request_id::current()).await.map(convert::run)
}

async fn erase(service: &Service, request: &pb::EraseEventsRequest) -> Result<pb::EraseEventsResponse> {
    let pb::EraseEventsRequest { run_id, first_seq, last_seq } = request;
    let erase = EraseEvents { run_id: RunId::parse(run_id)?, first_seq: *first_seq, last_seq: *last_seq };
    let Erased { first_seq, last_seq, events } = service.erase_events(&erase).await?;
    Ok(pb::EraseEventsResponse { first_seq, last_seq, events })
}

async fn hold(service: &Service, run_id: &str, is_held: bool) -> Result<pb::Run> {
    service.hold_run(&RunId::parse(run_id)?, is_held).await.map(convert::run)
}

async fn create_stream_token(
    service: &Service,
    request: &pb::CreateStreamTokenRequest,
) -> Result<pb::CreateStreamTokenResponse> {
    let IssuedStreamToken { token, expires_at } = service.create_stream_token(&RunId::parse(&request.run_id)?).await?;
    Ok(pb::CreateStreamTokenResponse { token, expires_at: Some(convert::instant(expires_at)) })
}
