//! Frames of a subscription. Memory of the send budget is charged before a frame is built from the store or copied.

use crate::domain::Result;
use crate::service::subscribe::{Frame, FrameKind, Step, Subscription};

use super::memory::{Call, Charge, SMALL_BYTES};

/// Waits for the next frame, with the memory charged for the events; `None` after the last frame. Dropping the future loses
/// no frame.
pub async fn next(subscription: &mut Subscription, call: Option<&Call>) -> Result<Option<(Frame, Option<Charge>)>> {
    loop {
        match step(subscription, call).await? {
            Step::Frame(frame) => return Ok(Some(frame)),
            Step::End => return Ok(None),
            // No memory is held during the wait, so that other calls can use the budget.
            Step::Nothing => {
                if let Some(heartbeat) = subscription.wait().await? {
                    return Ok(Some((heartbeat, None)));
                }
            }
        }
    }
}

/// The next frame that is available without new events. Before a read of the store the size of the largest frame is charged,
/// and the surplus is released after the read. An in-process server has no `call`, and no memory is charged.
pub async fn step(subscription: &mut Subscription, call: Option<&Call>) -> Result<Step<(Frame, Option<Charge>)>> {
    let mut room = None;
    if let Some(call) = call
        && subscription.would_read()
    {
        room = Some(room_for(subscription, call, subscription.max_frame_bytes()).await?);
    }
    let frame = match subscription.step().await? {
        Step::Frame(frame) => frame,
        Step::Nothing => return Ok(Step::Nothing),
        Step::End => return Ok(Step::End),
    };
    let (FrameKind::Events(batches), Some(call)) = (&frame.kind, call) else { return Ok(Step::Frame((frame, None))) };
    let bytes = batches.iter().map(|batch| batch.data.len()).sum();
    match &mut room {
        Some(room) => room.shrink(bytes),
        // Live events are shared by their subscribers: the answer charges a small frame when the frame is sent.
        None if bytes > SMALL_BYTES => room = Some(room_for(subscription, call, bytes).await?),
        None => {}
    }
    Ok(Step::Frame((frame, room)))
}

/// Waits for memory of the send budget, unless the stream has to end before.
pub async fn room_for(subscription: &mut Subscription, call: &Call, bytes: usize) -> Result<Charge> {
    tokio::select! {
        biased;
        room = call.room(bytes) => Ok(room),
        end = subscription.closed() => Err(end),
    }
}
