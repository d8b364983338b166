//! The frames of a subscription, each made once there is room for it in the memory of answers.

use crate::domain::{Error, Result};
use crate::service::subscribe::{Frame, FrameKind, Step, Subscription};

use super::memory::{Call, Charge, SMALL_BYTES};

/// The next frame, with the room that it takes; `None` after the last.
pub async fn next(subscription: &mut Subscription, call: Option<&Call>) -> Result<Option<(Frame, Option<Charge>)>> {
    loop {
        match step(subscription, call).await? {
            Step::Frame(frame) => return Ok(Some(frame)),
            Step::End => return Ok(None),
            // Without room: others may use it for as long as nothing happens here.
            Step::Nothing => {
                if let Some(heartbeat) = subscription.wait().await? {
                    return Ok(Some((heartbeat, None)));
                }
            }
        }
    }
}

/// The next frame, if there is one before something new happens. What has to be read from the store, and what is copied for this
/// reader alone, waits for room before. A reader in this process has no call and waits for none.
pub async fn step(subscription: &mut Subscription, call: Option<&Call>) -> Result<Step<(Frame, Option<Charge>)>> {
    let mut room = None;
    if let Some(call) = call
        && !subscription.would_wait()
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
        // What is live is shared by its readers; a small frame of it waits for room when it is sent, not before.
        None if bytes > SMALL_BYTES => room = Some(room_for(subscription, call, bytes).await?),
        None => {}
    }
    Ok(Step::Frame((frame, room)))
}

async fn room_for(subscription: &Subscription, call: &Call, bytes: usize) -> Result<Charge> {
    tokio::select! {
        biased;
        room = call.room(bytes) => Ok(room),
        () = subscription.draining() => Err(Error::ShuttingDown),
    }
}
