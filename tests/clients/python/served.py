"""A server of the program under test, which a script may kill and start again, and what the script reads from it."""

import atexit
import contextlib
import json
import logging
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc

from runlog import Publisher
from runlog.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc, run_pb2, run_service_pb2, run_service_pb2_grpc

GUARD = 60
"""Seconds; a guard against a script that hangs."""


def eventually(what, is_so):
    """Waits for a condition."""
    end = time.monotonic() + GUARD
    while not is_so():
        assert time.monotonic() < end, f"{what} does not come"
        time.sleep(0.01)


class Server:
    """The program as a process with a store of its own."""

    def __init__(self, program, start=True):
        self.program = program
        self.directory = tempfile.TemporaryDirectory()
        self.data = str(Path(self.directory.name) / "runlog.db")
        self.address = None
        self.process = None
        atexit.register(self.kill)
        if start:
            self.start()

    def start(self):
        """Starts the server, after the first time at the same address."""
        log = Path(self.directory.name) / "log"
        with open(log, "w") as file:
            arguments = ["serve", "--listen", self.address or "127.0.0.1:0", "--data", self.data, "--log-format", "json"]
            self.process = subprocess.Popen([self.program, *arguments], stdin=subprocess.DEVNULL, stdout=file, stderr=file)

        def serves():
            assert self.process.poll() is None, log.read_text()
            return re.search(r'"address":"([^"]+)"', log.read_text())

        eventually("the address of the server", serves)
        self.address = serves()[1]

    def kill(self):
        """Kills the server with SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def run(self, *arguments):
        """Runs a command of the program; returns its output."""
        return subprocess.run([self.program, *arguments], check=True, capture_output=True, text=True).stdout

    def key(self, *scopes):
        """Makes a key, while no server owns the store."""
        made = self.run("keys", "create", "--data", self.data, "--name", "test", "--scope", ",".join(scopes), "--json")
        return json.loads(made.splitlines()[-1])["key"]

    def events(self, run_id, key=None):
        """All events of a run as (id, type, payload)."""
        service, found, cursor = event_service_pb2, [], ""
        with grpc.insecure_channel(self.address) as channel:
            stub = event_service_pb2_grpc.EventServiceStub(channel)
            metadata = [("authorization", f"Bearer {key}")] if key else None
            while True:
                request = service.ListEventsRequest(
                    run_id=run_id,
                    cursor=cursor,
                    page_size=1_000,
                    payload_format=event_pb2.PAYLOAD_FORMAT_JSON,
                    view=event_pb2.EVENT_VIEW_FULL,
                )
                page = stub.ListEvents(request, metadata=metadata, timeout=GUARD)
                found += page.events
                if not page.has_more:
                    break
                cursor = page.next_cursor
        assert [event.seq for event in found] == list(range(1, len(found) + 1)), found
        return [(event.event_id, event.type, json.loads(event.payload.json)) for event in found]

    def state(self, run_id):
        """The state of a run, and the name of its status."""
        with grpc.insecure_channel(self.address) as channel:
            stub = run_service_pb2_grpc.RunServiceStub(channel)
            run = stub.GetRun(run_service_pb2.GetRunRequest(run_id=run_id), timeout=GUARD).run
        return run, run_pb2.RunStatus.Name(run.status).removeprefix("RUN_STATUS_")

    def run_ids(self):
        """Ids of all runs."""
        with grpc.insecure_channel(self.address) as channel:
            stub = run_service_pb2_grpc.RunServiceStub(channel)
            return {run.run_id for run in stub.ListRuns(run_service_pb2.ListRunsRequest(), timeout=GUARD).runs}


class Proxy:
    """Forwards to a server, and loses its answers on request."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.server = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.loses_answers = False
        self.connections = []
        self.delay = 0.0
        self.delay_per_byte = 0.0
        self.requested = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(self.server)
            self.connections += [client, server]
            threading.Thread(target=self.forward, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.forward, args=(server, client, True), daemon=True).start()

    def forward(self, source, sink, is_answer):
        try:
            while data := source.recv(65_536):
                # A path of many milliseconds, or a server that is busy.
                if is_answer:
                    requested, self.requested = self.requested, 0
                    time.sleep(self.delay + requested * self.delay_per_byte)
                else:
                    self.requested += len(data)
                if not (is_answer and self.loses_answers):
                    sink.sendall(data)
        except OSError:
            return

    def cut(self):
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Refusing(grpc.GenericRpcHandler):
    """A gRPC server that fails each call with one code, as something between may do."""

    def __init__(self, code):
        self.code = code
        self.calls = 0
        self.server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[self])
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self.refuse)

    def refuse(self, request, context):
        self.calls += 1
        context.abort(self.code, "refused")


class Recording(Publisher):
    """A publisher that also keeps the ids that it gave, in their order."""

    def __init__(self, server, **options):
        super().__init__(f"http://{server.address}", **options)
        self.ids = {}
        self._ids_lock = threading.Lock()

    def publish(self, run_id, *arguments, **options):
        with self._ids_lock:
            event_id = super().publish(run_id, *arguments, **options)
            self.ids.setdefault(run_id, []).append(event_id)
        return event_id

    def is_all_stored(self, server):
        """Asserts that each event is stored once, in the order in which it was published."""
        assert self.flush(GUARD), self.pending
        assert self.dropped == 0, self.dropped
        for run_id, ids in self.ids.items():
            stored = [event_id for event_id, _, _ in server.events(run_id)]
            assert stored == ids, (run_id, len(stored), len(ids))


class Said(logging.Handler):
    """What the package and the frameworks write to the log."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []
        logging.getLogger().addHandler(self)

    def emit(self, record):
        self.lines.append(
            record.getMessage() + (logging.Formatter().formatException(record.exc_info) if record.exc_info else "")
        )

    def none_about_faults(self):
        """Asserts that no callback failed."""
        faults = [line for line in self.lines if not re.match(r"cannot send events|events are sent again", line)]
        assert not faults, faults


def parents_are_known(events):
    """Asserts that what an event names as its parent began before it."""
    known = set()
    for _, _, payload in events:
        assert payload.get("parent_id") is None or payload["parent_id"] in known, (payload, known)
        known.update(payload[name] for name in ("step_id", "tool_call_id") if name in payload)


for name in [name for name in os.environ if name.startswith("RUNLOG_")]:
    del os.environ[name]
