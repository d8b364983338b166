//! Publish requests and answers, from and to their messages.

use crate::domain::event::Appended;
use crate::domain::{Limits, Result, RunId};
use crate::pb;
use crate::service::publish::Publish;
use crate::transport::convert;

pub(super) fn publish(request: pb::PublishRequest, limits: &Limits) -> Result<Publish> {
    Ok(Publish {
        run_id: RunId::parse(&request.run_id)?,
        events: convert::new_events(request.events, limits)?,
        expected_last_seq: request.expected_last_seq,
    })
}

pub(super) fn published(appended: Appended) -> pb::PublishResponse {
    let event = |event: crate::domain::Published| pb::PublishedEvent {
        seq: event.seq,
        event_id: event.event_id.to_string(),
        duplicate: event.duplicate,
    };
    pb::PublishResponse {
        events: appended.events.into_iter().map(event).collect(),
        run_status: convert::status(appended.status),
    }
}
