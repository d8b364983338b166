//! Subscribe: the frames of a subscription as gRPC messages.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{Stream, unfold};
use tonic::Status;

use crate::domain::{Error, Result};
use crate::pb;
use crate::service::Service;
use crate::service::subscribe::{Frame, FrameKind, Start, Subscribe, Subscription};
use crate::transport::memory::Call;
use crate::transport::view::Presentation;
use crate::transport::{convert, frames, status};

/// Stream of the frames of one subscription.
pub type Frames = Pin<Box<dyn Stream<Item = Result<pb::SubscribeResponse, Status>> + Send>>;

/// Begins a subscription. Fails if a field is invalid or the run does not exist.
pub async fn frames(service: &Service, request: pb::SubscribeRequest, call: Option<Arc<Call>>) -> Result<Frames> {
    let presentation = convert::presentation(service, request.payload_format, request.view)?;
    let subscription = service.subscribe(subscribe(request)?).await?;
    Ok(Box::pin(unfold(Some(subscription), move |subscription| next(subscription, presentation, call.clone()))))
}

/// The next frame, and the subscription unless the frame is an error.
async fn next(
    subscription: Option<Subscription>,
    presentation: Presentation,
    call: Option<Arc<Call>>,
) -> Option<(Result<pb::SubscribeResponse, Status>, Option<Subscription>)> {
    let mut subscription = subscription?;
    let resume_from = subscription.cursor();
    let frame = match frames::next(&mut subscription, call.as_deref()).await {
        Ok(frame) => {
            let (frame, room) = frame?;
            if let (Some(call), Some(room)) = (call, room) {
                call.prepay(room);
            }
            response(frame, presentation, subscription.new_epoch().unwrap_or_default())
        }
        Err(error) => Err(error),
    };
    match frame {
        Ok(frame) => Some((Ok(frame), Some(subscription))),
        Err(error) => Some((Err(status::from_error_at(&error, Some(resume_from))), None)),
    }
}

fn response(frame: Frame, presentation: Presentation, epoch: String) -> Result<pb::SubscribeResponse> {
    use pb::subscribe_response::Frame as Wire;
    let wire = match frame.kind {
        FrameKind::Events(batches) => {
            let chunks = batches.iter().map(|batch| presentation.chunk(batch)).collect::<Result<_>>()?;
            Wire::Events(pb::EventBatch { chunks })
        }
        FrameKind::CaughtUp { last_seq } => Wire::CaughtUp(pb::CaughtUp { last_seq }),
        FrameKind::Heartbeat => Wire::Heartbeat(pb::Heartbeat {}),
        FrameKind::Ended { status, last_seq } => {
            Wire::RunEnded(pb::RunEnded { status: convert::status(status), last_seq })
        }
    };
    Ok(pb::SubscribeResponse { cursor: frame.cursor, frame: Some(wire), epoch })
}

fn subscribe(request: pb::SubscribeRequest) -> Result<Subscribe> {
    use pb::subscribe_request::{Scope, Start as WireStart};
    Ok(Subscribe {
        scope: match &request.scope {
            Some(Scope::RunId(run_id)) => convert::scope(Some(run_id))?,
            Some(Scope::AllRuns(_)) => convert::scope(None)?,
            None => return Err(convert::no_scope()),
        },
        start: match request.start {
            None => Start::After(String::new()),
            Some(WireStart::Cursor(cursor)) => Start::After(cursor),
            Some(WireStart::Latest(pb::Latest {})) => Start::Latest,
            Some(WireStart::Tail(count)) => Start::Tail(count),
        },
        epoch: request.epoch,
        filter: convert::filter(request.filter)?,
        keep_open: request.keep_open,
        wait_for_run: request.wait_for_run,
        max_batch: usize::try_from(request.max_batch).map_err(|_| Error::invalid("max_batch", "is too large"))?,
        heartbeat: request.heartbeat_interval.map(|d| convert::duration("heartbeat_interval", d)).transpose()?,
    })
}
