//! `runlog.v1.EventService`.

use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};

use crate::domain::Result;
use crate::pb;
use crate::service::Service;
use crate::service::list::ListEvents;
use crate::transport::caller::called;
use crate::transport::memory::Call;
use crate::transport::{convert, status};

use super::publish::{publish, published};
use super::{publish_stream, subscribe};

/// Handler of the calls to `runlog.v1.EventService`.
#[derive(Clone)]
pub struct EventHandler {
    service: Service,
}

impl EventHandler {
    /// A handler that calls this service.
    #[must_use]
    pub fn new(service: Service) -> Self {
        Self { service }
    }
}

#[tonic::async_trait]
impl pb::event_service_server::EventService for EventHandler {
    type PublishStreamStream = publish_stream::Answers;
    type SubscribeStream = subscribe::Frames;

    async fn publish(&self, request: Request<pb::PublishRequest>) -> Result<Response<pb::PublishResponse>, Status> {
        let service = called(&self.service, request.extensions());
        let publish = publish(request.into_inner(), service.limits());
        let answer = async { service.publish(publish?).await.map(published) }.await;
        answer.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<pb::PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let call = request.extensions().get::<Arc<Call>>().cloned();
        let service = called(&self.service, request.extensions());
        // A call without the scope, or with too many beside it, fails as a whole.
        let place = service.begin_publish_stream().await.map_err(|error| status::from_error(&error))?;
        Ok(Response::new(publish_stream::answers(service, place, request.into_inner(), call)))
    }

    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let page = list(&called(&self.service, request.extensions()), request.into_inner()).await;
        page.map(Response::new).map_err(|error| status::from_error(&error))
    }

    async fn subscribe(
        &self,
        request: Request<pb::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let call = request.extensions().get::<Arc<Call>>().cloned();
        let service = called(&self.service, request.extensions());
        let frames = subscribe::frames(&service, request.into_inner(), call).await;
        frames.map(Response::new).map_err(|error| status::from_error(&error))
    }
}

async fn list(service: &Service, request: pb::ListEventsRequest) -> Result<pb::ListEventsResponse> {
    use pb::list_events_request::Scope;
    let presentation = convert::presentation(service, request.payload_format, request.view)?;
    let list = ListEvents {
        scope: match &request.scope {
            Some(Scope::RunId(run_id)) => convert::scope(Some(run_id))?,
            Some(Scope::AllRuns(_)) => convert::scope(None)?,
            None => return Err(convert::no_scope()),
        },
        cursor: request.cursor,
        page_size: convert::page_size(request.page_size)?,
        descending: request.descending,
        filter: convert::filter(request.filter)?,
        epoch: request.epoch,
    };
    let page = service.list_events(&list).await?;
    let present = |record: crate::service::list::StoredRecord| presentation.event(record.bytes, record.sensitive);
    Ok(pb::ListEventsResponse {
        events: page.records.into_iter().map(present).collect::<Result<_>>()?,
        next_cursor: page.next_cursor,
        has_more: page.has_more,
        last_seq: page.last_seq,
        epoch: page.epoch,
    })
}
