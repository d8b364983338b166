//! Write coalescing: the answers to calls of one connection that end together, as those of one commit do, go out in one write
//! instead of one for each.

use std::task::Context;

/// Size from which a write is worth its system call, bytes.
const LARGE_WRITE_BYTES: usize = 4 << 10;

/// Whether the next write of a connection was put off already.
#[derive(Debug, Default)]
pub struct Coalescing {
    is_put_off: bool,
}

impl Coalescing {
    /// Whether a write of these bytes is put off. The tasks that are ready by now usually run before the next attempt, and may add
    /// their answers. A write is put off once only; `has_company`: whether several calls of the connection are open. A small
    /// answer has left its call by then.
    pub fn puts_off(&mut self, cx: &Context<'_>, bytes: usize, has_company: impl FnOnce() -> bool) -> bool {
        if self.is_put_off || bytes >= LARGE_WRITE_BYTES || !has_company() {
            return false;
        }
        self.is_put_off = true;
        cx.waker().wake_by_ref();
        true
    }

    /// The socket has taken a write.
    pub fn written(&mut self) {
        self.is_put_off = false;
    }
}
