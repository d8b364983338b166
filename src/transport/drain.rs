//! The begin of a drain as clients see it. Their calls end first, and then their connections are announced to end (GOAWAY of
//! HTTP/2): some clients break off every call of a connection at its first GOAWAY, and would lose the status and the cursor of a
//! subscription.

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, StreamExt, once};

use super::memory::Memory;

/// Pause between two looks at the calls. A connection writes the end of a call within it.
const LOOK: Duration = Duration::from_millis(25);

/// The connections of `accepted` until `draining`. Then the listener is closed, and the stream ends, which is the signal for
/// GOAWAY, once no call is in progress or after `longest`.
pub fn until_drained<C: Stream>(
    accepted: C,
    draining: impl Future<Output = ()>,
    memory: Arc<Memory>,
    longest: Duration,
) -> impl Stream<Item = C::Item> {
    let settled = once(settle(memory, longest)).filter_map(|()| ready(None));
    // A chain drops its first stream, the listener, when it has ended.
    accepted.take_until(draining).chain(settled)
}

/// Waits until two looks in a row find no call, at most for `longest`.
async fn settle(memory: Arc<Memory>, longest: Duration) {
    let quiet = async {
        let mut was_quiet = false;
        loop {
            let is_quiet = !memory.has_calls();
            if is_quiet && was_quiet {
                return;
            }
            was_quiet = is_quiet;
            tokio::time::sleep(LOOK).await;
        }
    };
    // Calls that go on after that end behind the GOAWAY.
    let _ = tokio::time::timeout(longest, quiet).await;
}
