"""The publisher: a bounded queue and a thread that sends it in batches."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import uuid
from collections.abc import Mapping
from multiprocessing import util
from typing import Any

from google.protobuf.message import Message

from runlog import _plain
from runlog._connection import Address, Connection, Credentials, from_environment
from runlog._fork import renew_in_children
from runlog._queue import Queue, Queued
from runlog._sender import Sender
from runlog.v1 import event_pb2, payload_pb2

logger = logging.getLogger("runlog")

_REPORT_INTERVAL = 30.0
_MAX_RUNS_WITH_LOSSES = 1_000
_OVERHEAD_BYTES = 200
_VARIANTS = {
    field.message_type.full_name: field.name
    for field in payload_pb2.Payload.DESCRIPTOR.oneofs_by_name["variant"].fields
    if field.message_type is not None
}


class Publisher:
    """Publishes events in the background. No method but the constructor raises, and only `flush` and `close` wait.

    `publish` puts an event into a bounded queue; a thread sends the queue in batches and repeats what fails, with the id that
    each event got when it was put there, so that the server stores it once. A full queue drops the event and counts it.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        key: str | None = None,
        key_file: str | os.PathLike[str] | None = None,
        ca: str | os.PathLike[str] | None = None,
        cert: str | os.PathLike[str] | None = None,
        cert_key: str | os.PathLike[str] | None = None,
        queue_events: int = 10_000,
        queue_bytes: int = 64 << 20,
        batch_events: int = 200,
        batch_bytes: int = 1 << 20,
        linger_seconds: float = 0.05,
        call_timeout_seconds: float = 10.0,
        exit_timeout_seconds: float = 5.0,
    ) -> None:
        """Connects to nothing yet. A ValueError names an argument that cannot be.

        server: `http://host:port`, or `https://host` for TLS. Default: RUNLOG_SERVER, else http://127.0.0.1:7800.
        key, key_file: the key, or a file with it that is read with every call. Default: RUNLOG_KEY_FILE, RUNLOG_KEY.
        ca, cert, cert_key: PEM files for TLS. Default: RUNLOG_CA, RUNLOG_CERT, RUNLOG_CERT_KEY, else the authorities of gRPC.
        queue_events, queue_bytes: bounds of what waits; beyond them events are dropped.
        batch_events, batch_bytes: bounds of one request; the server takes 1,000 events and 4 MiB by default.
        linger_seconds: how long an event waits for others to share its batch.
        call_timeout_seconds: how long one try may take.
        exit_timeout_seconds: how long `close` and the end of the program wait for what is not sent yet.
        """
        for name, bound in [("queue_events", queue_events), ("queue_bytes", queue_bytes), ("batch_bytes", batch_bytes)]:
            if bound < 1:
                raise ValueError(f"{name}: {bound} is less than 1")
        if not 1 <= batch_events <= 1_000:
            raise ValueError(f"batch_events: {batch_events} is not from 1 to 1,000")
        for name, seconds in [("linger_seconds", linger_seconds), ("exit_timeout_seconds", exit_timeout_seconds)]:
            if not 0 <= seconds <= 3_600:
                raise ValueError(f"{name}: {seconds} is not from 0 to 3,600")
        if not 0 < call_timeout_seconds <= 3_600:
            raise ValueError(f"call_timeout_seconds: {call_timeout_seconds} is not above 0 and at most 3,600")
        address = Address.parse(server or from_environment("RUNLOG_SERVER") or "http://127.0.0.1:7800")
        self._connection = Connection(address, Credentials.choose(key, key_file, ca, cert, cert_key))
        self._queue_bounds = (queue_events, queue_bytes)
        self._batch = (batch_events, batch_bytes, linger_seconds)
        self._call_timeout = call_timeout_seconds
        self._exit_timeout = exit_timeout_seconds
        self._begin()
        atexit.register(self.close)
        renew_in_children(self)
        # A process of `multiprocessing` ends without `atexit`.
        util.register_after_fork(self, lambda publisher: util.Finalize(None, publisher.close, exitpriority=10))

    def renew_after_fork(self) -> None:
        """The queue, the thread and the channel belong to the parent; the child begins with none."""
        self._connection.forget()
        self._begin()

    def _begin(self) -> None:
        """The state of a publisher in this process."""
        # One lock, also of the queue, that the same thread may take again: finalizers and signal handlers publish too.
        self._lock = threading.RLock()
        self._queue = Queue(*self._queue_bounds, self._lock)
        self._sender = Sender(self._connection, self._queue, self._call_timeout, self._drop_sent)
        self._worker: threading.Thread | None = None
        self._dropped = 0
        self._has_given_up = False
        self._reported = float("-inf")
        # Runs that lost events since the last event that was taken, with the number.
        self._losses: dict[str, int] = {}

    def publish(
        self,
        run_id: str,
        type: str,
        payload: Mapping[str, Any] | Message | None = None,
        *,
        extra: Mapping[str, Any] | None = None,
        agent_name: str = "",
        event_id: str | None = None,
        essential: bool = False,
    ) -> str | None:
        """Puts an event into the queue; returns its id, or None if it was dropped. Never waits, never raises.

        run_id, type, agent_name: as in `runlog.v1.NewEvent`; too long or empty ones are refused by the server and counted.
        payload: an object of JSON values, or a message of `runlog.v1.payload_pb2` such as `RunStart`. It is copied.
        extra: further members beside those of a message.
        event_id: an id that the caller repeats itself. Default: a new UUID.
        essential: the event may take a place that is kept free for such: what begins, ends or stops a run.
        """
        try:
            event = event_pb2.NewEvent(
                event_id=event_id or str(uuid.uuid4()),
                type=_plain.text(type),
                agent_name=_plain.text(agent_name),
                payload=_payload(payload, extra),
            )
            event.occurred_at.FromNanoseconds(time.time_ns())
            return self._offer(_plain.text(run_id), event, essential)
        except Exception as error:
            self._drop(1, f"cannot be published, {error.__class__.__name__}: {error}")
            return None

    def _offer(self, run_id: str, event: event_pb2.NewEvent, is_essential: bool) -> str | None:
        with self._lock:
            events = [Queued(run_id, event, event.ByteSize() + _OVERHEAD_BYTES)]
            if lost := self._losses.get(run_id):
                events.insert(0, _marker(run_id, lost))
            if not self._queue.offer(events, is_essential):
                is_closed = self._queue.time_left() is not None
                if run_id in self._losses or len(self._losses) < _MAX_RUNS_WITH_LOSSES:
                    lost = self._losses.get(run_id, 0)
                    self._losses[run_id] = lost + 1
            else:
                self._losses.pop(run_id, None)
                self._work()
                return event.event_id
        self._drop(1, "the publisher is closed" if is_closed else "the queue is full")
        return None

    def _work(self) -> None:
        if self._worker is None:
            # Kept before it starts, since what is published meanwhile by the same thread must not start another one.
            self._worker = threading.Thread(target=self._send_all, name="runlog-publisher", daemon=True)
            try:
                self._worker.start()
            except RuntimeError:
                # The interpreter is ending and starts no more threads: `close` sends in its own.
                self._worker = None

    def _send_all(self) -> None:
        while batch := self._queue.take(*self._batch):
            try:
                self._sender.send(batch)
            except Exception:
                logger.exception("events were not sent")
                self._drop_sent(len(batch) - self._sender.settled, "a fault of the publisher")
            finally:
                with self._lock:
                    self._queue.done(batch)
                    self._sender.settled = 0

    def _drop_sent(self, count: int, reason: str) -> None:
        """For events of the sender, which are counted already if `close` could not wait for it."""
        with self._lock:
            if not self._has_given_up:
                self._drop(count, reason)

    def _drop(self, count: int, reason: str) -> None:
        with self._lock:
            self._dropped += count
            dropped = self._dropped
            if time.monotonic() - self._reported < _REPORT_INTERVAL:
                return
            self._reported = time.monotonic()
        logger.warning("%d events dropped so far; the last one: %s", dropped, reason)

    @property
    def dropped(self) -> int:
        """Number of events that were dropped."""
        return self._dropped

    @property
    def published(self) -> int:
        """Number of events that the server has acknowledged, with those that say how many were lost."""
        return self._sender.published

    @property
    def pending(self) -> int:
        """Number of events that wait or are being sent."""
        return len(self._queue)

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until all events so far are sent or given up; false after the timeout in seconds (default:
        `exit_timeout_seconds`)."""
        return self._queue.wait_until_empty(self._exit_timeout if timeout is None else timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Sends what waits, within the timeout in seconds (default: `exit_timeout_seconds`), and takes no more events. What is
        not known to be stored by then is dropped and counted. Returns whether no event has been dropped. Runs at the end of the
        program by itself."""
        timeout = self._exit_timeout if timeout is None else timeout
        self._queue.close(timeout)
        worker = self._worker
        if worker is threading.current_thread():
            # A finalizer that the worker runs cannot wait for it; the end of the program does.
            return self._dropped == 0
        atexit.unregister(self.close)
        if worker is None:
            self._send_all()
        else:
            worker.join(timeout)
            if worker.is_alive():
                # A call that began before, or an attempt to connect.
                self._connection.cancel()
                worker.join(1.0)
        if worker is None or not worker.is_alive():
            self._connection.close()
        else:
            self._give_up()
        if self._dropped:
            logger.warning("closed; %d events were dropped in all", self._dropped)
        return self._dropped == 0

    def _give_up(self) -> None:
        with self._lock:
            self._has_given_up = True
            given_up = self._queue.give_up() - self._sender.settled
        if given_up:
            self._drop(given_up, "not sent before the end of the program")

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _payload(payload: Mapping[str, Any] | Message | None, extra: Mapping[str, Any] | None) -> payload_pb2.Payload:
    if isinstance(payload, Message):
        variant: dict[str, Any] = {_VARIANTS[payload.DESCRIPTOR.full_name]: payload}
        return payload_pb2.Payload(extra_json=_plain.to_json(extra) if extra else "", **variant)
    return payload_pb2.Payload(json=_plain.to_json({**(payload or {}), **(extra or {})}))


def _marker(run_id: str, lost: int) -> Queued:
    """The event that says in a run how many events are missing before the next one."""
    event = event_pb2.NewEvent(
        event_id=str(uuid.uuid4()),
        type="events_dropped",
        payload=payload_pb2.Payload(json=_plain.to_json({"count": lost})),
    )
    event.occurred_at.FromNanoseconds(time.time_ns())
    return Queued(run_id, event, event.ByteSize() + _OVERHEAD_BYTES)


class _Default:
    """The publisher of this process, once it is asked for."""

    def __init__(self) -> None:
        self.publisher: Publisher | None = None
        self.renew_after_fork()
        renew_in_children(self)

    def renew_after_fork(self) -> None:
        """A new lock; the publisher renews itself."""
        self.lock = threading.RLock()


_default = _Default()


def default_publisher() -> Publisher:
    """The publisher of this process that handlers share, with the options of the environment."""
    with _default.lock:
        if _default.publisher is None:
            _default.publisher = Publisher()
        return _default.publisher
