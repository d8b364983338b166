//! PublishStream: many publish requests on one stream, accepted without a wait for earlier answers.

use std::future::ready;
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::stream::{Stream, unfold};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::domain::{Error, Result};
use crate::pb;
use crate::service::Service;
use crate::service::access::StreamPlace;
use crate::service::publish::{Receipt, Sequence};
use crate::transport::memory::{Call, Charge};
use crate::transport::status;

use super::publish::{publish, published};

/// Most publish requests of one stream that wait for an answer. The commit queue limits the bytes.
const MAX_IN_FLIGHT: usize = 1_024;

/// One answer for each request, in request order.
pub type Answers = Pin<Box<dyn Stream<Item = Result<pb::PublishStreamResponse, Status>> + Send>>;

/// Memory of the answer to one event, about.
const ANSWER_BYTES: usize = 96;

/// Memory charged at once for the next answers, so that most requests need no charge of their own.
const CHARGED_AHEAD: usize = 4 << 10;

/// A request without an answer yet.
enum Pending {
    /// With the memory of the answer.
    Accepted(Receipt, Option<Charge>),
    Refused(Error),
    /// The stream ends with this status.
    Broken(Status),
}

/// Accepts requests as fast as the commit queue takes events, and answers each request after the commit. Holds the place to the
/// end of the answers.
pub fn answers(
    service: Service,
    place: StreamPlace,
    requests: Streaming<pb::PublishStreamRequest>,
    call: Option<Arc<Call>>,
) -> Answers {
    let (pending, answers) = mpsc::channel(MAX_IN_FLIGHT);
    // A separate task accepts requests while an answer waits for the disk. The task ends when the client ends the requests
    // or drops the answers, or when the server drains.
    tokio::spawn(take_in(service, requests, pending, call.clone()));
    Box::pin(unfold((answers, call, place), |(mut answers, call, place)| async move {
        let answer = match answers.recv().await? {
            Pending::Accepted(receipt, room) => {
                let answer = answer(receipt.stored().await.map(published));
                if let (Some(call), Some(room)) = (&call, room) {
                    call.prepay(room);
                }
                Ok(answer)
            }
            Pending::Refused(error) => Ok(answer(Err(error))),
            Pending::Broken(status) => Err(status),
        };
        Some((answer, (answers, call, place)))
    }))
}

async fn take_in(
    service: Service,
    mut requests: Streaming<pb::PublishStreamRequest>,
    pending: mpsc::Sender<Pending>,
    call: Option<Arc<Call>>,
) {
    let mut closed = pin!(service.closed());
    let mut ahead: Option<Charge> = None;
    let sequence = Sequence::begin();
    loop {
        // Available requests come first: polling the other branches costs more than accepting a request.
        let request = tokio::select! {
            biased;
            request = requests.message(), if service.check_open().is_ok() => request.map_err(status::from_wire),
            // No request is there: an idle stream holds no memory.
            () = ready(()), if ahead.is_some() => {
                ahead = None;
                continue;
            }
            end = &mut closed => Err(status::from_error(&end)),
            () = pending.closed() => return,
        };
        let next = match request {
            Ok(None) => return,
            Ok(Some(request)) => {
                // An answer takes memory from here on: a client may send many requests and read no answer.
                let events = request.publish.as_ref().map_or(0, |publish| publish.events.len());
                let bytes = (events + 1) * ANSWER_BYTES;
                let is_charged = ahead.as_ref().is_some_and(|ahead| ahead.bytes() >= bytes);
                if let Some(call) = call.as_ref().filter(|_| !is_charged) {
                    // Never both at a time: what waits for memory must not hold any.
                    drop(ahead.take());
                    ahead = tokio::select! {
                        biased;
                        room = call.room(bytes.max(CHARGED_AHEAD)) => Some(room),
                        () = pending.closed() => return,
                    };
                }
                let room = ahead.as_mut().map(|ahead| ahead.split(bytes));
                match submit(&service, request, sequence).await {
                    Ok(receipt) => Pending::Accepted(receipt, room),
                    Err(error) => Pending::Refused(error),
                }
            }
            Err(status) => Pending::Broken(status),
        };
        let is_last = matches!(next, Pending::Broken(_));
        if pending.send(next).await.is_err() || is_last {
            return;
        }
    }
}

async fn submit(service: &Service, request: pb::PublishStreamRequest, sequence: Sequence) -> Result<Receipt> {
    let request = request.publish.ok_or_else(|| Error::invalid("publish", "must be set"))?;
    let publish = publish(request, service.limits()).map_err(|error| error.under("publish"))?;
    service.submit(publish, Some(sequence)).await.map_err(|error| error.under("publish"))
}

/// Prefixes a field of the publish with the path in the stream's request.
fn in_publish((name, value): (String, String)) -> (String, String) {
    if name == "field" && value.starts_with("events[") { (name, format!("publish.{value}")) } else { (name, value) }
}

fn answer(result: Result<pb::PublishResponse>) -> pb::PublishStreamResponse {
    use pb::publish_stream_response::Result as Answer;
    let result = match result {
        Ok(published) => Answer::Published(published),
        Err(error) => Answer::Failure(pb::PublishFailure {
            code: status::code(&error) as i32,
            reason: error.reason().to_owned(),
            message: error.to_string(),
            metadata: status::metadata(&error).into_iter().map(in_publish).collect(),
            retry_delay: error.retry_after().and_then(|delay| delay.try_into().ok()),
        }),
    };
    pb::PublishStreamResponse { result: Some(result) }
}
