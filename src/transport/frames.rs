//! The frames of a subscription, each made once there is room for it in the memory of answers.

use crate::domain::{Error, Result};
use crate::service::subscribe::{Frame, FrameKind, Subscription};

use super::memory::{Call, Charge, SMALL_BYTES};

/// The next frame, with the room that it takes; `None` after the last. What has to be read from the store, and what is copied
/// for this reader alone, waits for room before. A reader in this process has no call and waits for none.
pub async fn next(subscription: &mut Subscription, call: Option<&Call>) -> Result<Option<(Frame, Option<Charge>)>> {
    let Some(call) = call else { return Ok(subscription.next().await?.map(|frame| (frame, None))) };
    let mut room = None;
    if !subscription.would_wait() {
        room = Some(room_for(subscription, call, subscription.max_frame_bytes()).await?);
    }
    let Some(frame) = subscription.next().await? else { return Ok(None) };
    let FrameKind::Events(batches) = &frame.kind else { return Ok(Some((frame, None))) };
    let bytes = batches.iter().map(|batch| batch.data.len()).sum();
    match &mut room {
        Some(room) => room.shrink(bytes),
        // What is live is shared by its readers; a small frame of it waits for room when it is sent, not before.
        None if bytes > SMALL_BYTES => room = Some(room_for(subscription, call, bytes).await?),
        None => {}
    }
    Ok(Some((frame, room)))
}

async fn room_for(subscription: &Subscription, call: &Call, bytes: usize) -> Result<Charge> {
    tokio::select! {
        biased;
        room = call.room(bytes) => Ok(room),
        () = subscription.draining() => Err(Error::ShuttingDown),
    }
}
