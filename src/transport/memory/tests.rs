use futures_util::{FutureExt, poll};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tonic::Status;

use super::limits::BYTES_EACH;
use super::*;

const KIB: usize = 1 << 10;

/// A memory with these budgets, both of which one connection may use up.
fn memory(receive_bytes: usize, send_bytes: usize) -> (Arc<Memory>, Arc<Account>) {
    let memory = Memory::new(MemoryOptions {
        receive_bytes,
        send_bytes,
        calls_bytes: 8,
        connections_at_least: 1,
        call_bytes: 1,
        connection_bytes: 1,
        max_silence: Duration::from_secs(60),
    });
    let account = memory.account(Ipv4Addr::LOCALHOST.into(), CancellationToken::new());
    (memory, account)
}

async fn room(intake: &mut Intake, received: usize, declared: usize) -> std::result::Result<(), Status> {
    poll_fn(|cx| intake.poll_room(cx, received, declared)).await
}

#[tokio::test(start_paused = true)]
async fn two_requests_that_each_need_more_room_do_not_wait_for_each_other() {
    // Three quarters are for all connections: enough for one message and the first part of another.
    let (memory, account) = memory(4 * 400 * KIB / 3, KIB);
    let calls = [memory.call(&account).unwrap(), memory.call(&account).unwrap()];
    let mut intakes = calls.each_ref().map(|call| memory.intake(call));
    for intake in &mut intakes {
        room(intake, 60 * KIB, 100 * KIB).await.unwrap();
    }
    let [first, second] = &mut intakes;
    let mut first_waits = Box::pin(room(first, 70 * KIB, 100 * KIB));
    let mut second_waits = Box::pin(room(second, 70 * KIB, 100 * KIB));
    assert!(poll!(&mut first_waits).is_pending());
    assert!(poll!(&mut second_waits).is_pending());
    assert!(poll!(&mut first_waits).is_ready(), "the second gave back what it had");
    drop(first_waits);
    let [first_call, _] = calls;
    first.hand_over();
    first_call.answered();
    assert!(poll!(&mut second_waits).is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_packed_body_takes_all_its_room_as_it_comes_and_does_not_wait_for_what_it_holds_itself() {
    let max_bytes = 100 * KIB;
    let (memory, account) = memory(4 * BYTES_EACH * max_bytes / 3, KIB);
    for packed_bytes in [SMALL_BYTES / 2, 4 * SMALL_BYTES] {
        let call = memory.call(&account).unwrap();
        let body = Body::new(Full::new(Bytes::from(vec![0; packed_bytes])).map_err(|never| match never {}));
        memory.received(body, &call, max_bytes, true).collect().await.unwrap();
        call.room_to_unpack(max_bytes).now_or_never().expect("there is nobody to wait for").unwrap();
        assert_eq!(account.shares.receive.held(), BYTES_EACH * max_bytes);
        call.unpacked(50 * KIB);
        assert_eq!(account.shares.receive.held(), BYTES_EACH * 50 * KIB, "{packed_bytes}");
        call.answered();
        assert_eq!(account.shares.receive.held(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_wait_for_room_than_may_wait_uncounted() {
    let (memory, account) = memory(400 * KIB, KIB);
    let share = &account.shares.receive;
    let _held = share.try_charge(300 * KIB).unwrap();
    let mut waiting: Vec<_> = (0..256).map(|_| Box::pin(Arc::clone(share).charge(300 * KIB))).collect();
    for waits in &mut waiting {
        assert!(poll!(waits).is_pending());
    }
    let call = memory.call(&account).unwrap();
    let refused = room(&mut memory.intake(&call), 60 * KIB, 200 * KIB).now_or_never().unwrap().unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
}

/// A body of these frames in reverse order. `is_end_stream` becomes true with the final frame.
struct Frames(Vec<Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.pop().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn answer_of(call: &Arc<Call>, frame_bytes: usize) -> Pin<Box<Body>> {
    Box::pin(answer(Body::new(Frames(vec![Bytes::from(vec![0; frame_bytes])])), Arc::clone(call)))
}

async fn piece(body: &mut Pin<Box<Body>>) -> Bytes {
    let frame = poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
    frame.unwrap().unwrap().into_data().unwrap()
}

fn pass(memory: &Memory, ticks: usize) {
    for _ in 0..ticks {
        memory.clock.tick();
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_answer_counts_as_unsent_until_the_connection_has_sent_it() {
    let (memory, account) = memory(KIB, 100 * KIB);
    let call = memory.call(&account).unwrap();
    let mut body = answer_of(&call, 10);
    let small = piece(&mut body).await;
    assert!(body.is_end_stream());
    // The connection has dropped the body, and holds the bytes in a queue.
    drop((body, call));
    memory.clock.tick();
    assert_eq!(account.silence(), Some(1));
    assert!(account.has_slow_call(1, 40));
    assert_eq!(account.shares.calls.held(), 1, "the call has its place until then");
    drop(small);
    assert_eq!((account.silence(), account.shares.calls.held()), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn time_in_which_a_call_waits_for_room_is_not_time_in_which_its_peer_takes_nothing() {
    let (memory, account) = memory(KIB, 100 * KIB);
    let held = account.shares.send.try_charge(75 * KIB).unwrap();
    let call = memory.call(&account).unwrap();
    let mut body = answer_of(&call, 50 * KIB);
    let mut waits = Box::pin(piece(&mut body));
    assert!(poll!(&mut waits).is_pending());
    pass(&memory, 100);
    assert_eq!((account.silence(), account.has_slow_call(4, 40)), (None, false), "it has nothing to send");
    drop(held);
    let first = waits.await;
    assert_eq!(account.silence(), Some(0));
    assert!(!account.has_slow_call(4, 40), "it has just begun to send");
    pass(&memory, 4);
    assert!(account.has_slow_call(4, 40));
    drop(first);

    let late = memory.call(&account).unwrap();
    pass(&memory, 100);
    drop((body, call));
    let _small = piece(&mut answer_of(&late, 10)).await;
    assert!(!account.has_slow_call(4, 40), "its answer took long to be made");
}

#[tokio::test]
async fn a_probe_finds_a_place_where_calls_take_all_the_room() {
    let (memory, account) = memory(KIB, KIB);
    let calls: Vec<_> = std::iter::from_fn(|| memory.call(&account)).collect();
    assert!(!calls.is_empty());
    let probes: Vec<_> = std::iter::from_fn(|| memory.probe(&account)).take(1_000).collect();
    assert_eq!(probes.len(), MAX_PROBES);
    drop(probes);
    assert!(memory.probe(&account).is_some());
}
