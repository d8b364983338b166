"""What the Python package does at its limits: finalizers and signals that publish, ends that cannot wait, values that are no
JSON, slow networks. Run with the program as the argument."""

import faulthandler
import gc
import os
import signal
import sys
import threading
import time
from pathlib import Path

import grpc

from runlog import Publisher
from runlog.v1 import payload_pb2
from served import GUARD, Proxy, Recording, Refusing, Said, Server, eventually


def finalizers_and_signal_handlers_may_publish_at_any_moment(server):
    publisher = Recording(server, batch_events=5, linger_seconds=0)
    # The ids of what interrupts another call have no order that a test knows.
    publish = super(Recording, publisher).publish
    made = {"finalizer": 0, "signal": 0, "thread": 0}

    def emit(source):
        made[source] += 1
        assert publish(f"from-a-{source}", "step", {"source": source})

    class Garbage:
        def __init__(self):
            self.itself = self

        def __del__(self):
            emit("finalizer")

    def agent():
        for _ in range(200):
            Garbage()
            publish("from-a-thread", "step", {"source": "thread"})

    before, thresholds = signal.signal(signal.SIGALRM, lambda *_: emit("signal")), gc.get_threshold()
    # Almost every object that is made runs finalizers, also where a lock is held.
    gc.set_threshold(1)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        threads = [threading.Thread(target=agent) for _ in range(3)]
        for thread in threads:
            thread.start()
        agent()
        for thread in threads:
            thread.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.set_threshold(*thresholds)
    gc.collect()
    assert publisher.flush(GUARD) and publisher.close()
    assert len(server.events("from-a-thread")) == 800
    assert len(server.events("from-a-finalizer")) == made["finalizer"] == 800, made
    assert len(server.events("from-a-signal")) == made["signal"], made


def a_close_that_a_call_outlasts_says_what_is_lost(server):
    proxy = Proxy(server.address)
    publisher = Publisher(proxy.address, call_timeout_seconds=GUARD, linger_seconds=0)
    publisher.publish("late", "step", {"number": 0})
    assert publisher.flush(GUARD)
    proxy.loses_answers = True
    for number in range(1, 50):
        publisher.publish("late", "step", {"number": number})
    eventually("a call", lambda: len(server.events("late")) > 1)
    began = time.monotonic()
    assert not publisher.close(0.2), "what is not known to be stored is lost, and no one says so"
    assert time.monotonic() - began < GUARD / 2
    assert (publisher.dropped, publisher.pending, publisher.published) == (49, 0, 1)

    # So does what holds the worker up outside of a call: a pipe that no one writes a key to.
    pipe = Path(server.directory.name) / "pipe"
    os.mkfifo(pipe)
    publisher = Publisher(server.address, key_file=pipe, linger_seconds=0)
    publisher.publish("lost", "step", {"number": 1})
    publisher.publish("lost", "step", {"number": 2})
    # It is being read.
    writer = os.open(pipe, os.O_WRONLY)
    assert not publisher.close(0.2) and (publisher.dropped, publisher.pending) == (2, 0)
    os.close(writer)
    publisher._worker.join(GUARD)
    assert (publisher.dropped, publisher.pending) == (2, 0), "counted twice"


def nested(levels):
    value = "the innermost"
    for _ in range(levels):
        value = {"inner": value}
    return value


def a_payload_is_stored_whole_or_counted_as_dropped(server):
    publisher = Recording(server)
    payload = {"deep": nested(60), "long": list(range(1_500)), "wide": {str(number): number for number in range(1_500)}}
    large = {"text": "x" * 500_000}
    publisher.publish("whole", "step", payload)
    publisher.publish("whole", "step", payload_pb2.Step(node_name="act", phase="end"), extra=payload)
    publisher.publish("whole", "step", large)
    publisher.is_all_stored(server)
    stored = [payload for _, _, payload in server.events("whole")]
    assert stored[0] == payload and stored[2] == large
    assert {name: stored[1][name] for name in payload} == payload
    # One that the server refuses, and one that is not even sent.
    assert publisher.publish("whole", "step", nested(65)) is not None
    assert publisher.publish("whole", "step", nested(101)) is None
    assert publisher.flush(GUARD) and publisher.dropped == 2, publisher.dropped


def essential_events_are_bounded_too(program):
    server = Server(program)
    server.kill()
    publisher = Publisher(server.address, queue_bytes=100_000)
    text = {"text": "x" * 2_000}
    usual = [publisher.publish("bounded", "step", text) for _ in range(100)]
    essential = [publisher.publish("bounded", "error", text, essential=True) for _ in range(100)]
    taken = [len([event_id for event_id in ids if event_id]) for ids in (usual, essential)]
    assert 40 <= taken[0] <= 50 and 2 <= taken[1] <= 5, taken
    assert not publisher.close(0) and publisher.dropped >= 200 and publisher.pending == 0


def a_connection_that_takes_long_is_made(server):
    proxy = Proxy(server.address)
    # Of each answer, also of the first of a connection, without which there is none.
    proxy.delay = 2.0
    publisher = Publisher(proxy.address, linger_seconds=0)
    publisher.publish("far", "step", {"number": 1})
    assert publisher.flush(GUARD) and publisher.close(), "no attempt to connect was given the time"
    assert len(server.events("far")) == 1


def in_one_batch(address, run_id, events, **options):
    """Publishes events in one batch; returns the number of calls and of dropped events."""
    publisher = Publisher(address, batch_events=len(events), linger_seconds=GUARD, **options)
    sent, calls = publisher._connection.publish, []

    def counted(*arguments):
        calls.append(arguments)
        return sent(*arguments)

    publisher._connection.publish = counted
    for kind, payload in events:
        publisher.publish(run_id, kind, payload)
    assert publisher.flush(GUARD)
    publisher.close()
    return len(calls), publisher.dropped


def what_the_server_refuses_costs_few_calls(program):
    server = Server(program, start=False)
    reader, writer = server.key("events.read"), server.key("events.publish")
    admin = server.key("events.read", "events.read_sensitive")
    server.start()
    good, bad = ("step", {"number": 1}), ("t" * 300, {})
    assert in_one_batch(server.address, "calls", [good] * 50, key=reader) == (1, 50), "no right to publish"
    assert in_one_batch(server.address, "r" * 300, [good] * 50, key=writer) == (1, 50), "no id of a run"
    assert in_one_batch(server.address, "calls", ([good] * 9 + [bad]) * 5, key=writer) == (6, 5), "events that are named"
    assert len(server.events("calls", admin)) == 45
    system = ("run.started", {})
    _, dropped = in_one_batch(server.address, "calls", [good] * 7 + [system], key=writer)
    assert dropped == 1 and len(server.events("calls", admin)) == 52, "an event that needs another scope"
    server.kill()
    for code, tries in [(grpc.StatusCode.INTERNAL, 5), (grpc.StatusCode.DATA_LOSS, 5), (grpc.StatusCode.INVALID_ARGUMENT, 1)]:
        refusing = Refusing(code)
        # The batch, then its halves down to each event.
        assert in_one_batch(refusing.address, "calls", [good] * 8) == (tries + 14, 8), code
        refusing.server.stop(0)
    refusing = Refusing(grpc.StatusCode.PERMISSION_DENIED)
    assert in_one_batch(refusing.address, "calls", [good] * 8) == (1, 8)
    refusing.server.stop(0)


def a_batch_that_always_takes_too_long_is_sent_in_parts(server):
    proxy = Proxy(server.address)
    # 16 events take 3 seconds, and 4 of them less than one.
    proxy.delay_per_byte = 3 / (16 * 3_000)
    publisher = Recording(proxy, batch_events=16, linger_seconds=GUARD, call_timeout_seconds=1)
    for number in range(16):
        publisher.publish("slow", "step", {"number": number, "text": "x" * 3_000})
    publisher.is_all_stored(server)
    assert publisher.close()


def main():
    program, said = sys.argv[1], Said()
    # A lock that is never released ends the script.
    faulthandler.dump_traceback_later(3 * GUARD, exit=True)
    server = Server(program)
    finalizers_and_signal_handlers_may_publish_at_any_moment(server)
    a_connection_that_takes_long_is_made(server)
    a_batch_that_always_takes_too_long_is_sent_in_parts(server)
    said.none_about_faults()
    a_payload_is_stored_whole_or_counted_as_dropped(server)
    essential_events_are_bounded_too(program)
    what_the_server_refuses_costs_few_calls(program)
    a_close_that_a_call_outlasts_says_what_is_lost(server)
    server.kill()
    print("ok")


main()
