"""PyPI `httpx-sse`, as published: follows a run over cut connections. Run with the server's address as the argument."""

import json
import socket
import sys
import threading

import httpx
import httpx_sse

EVENTS = 300
RUN = "python-sse"


def publish(base, kind, payload):
    body = {"event_type": kind, "sdk_run_id": RUN, "payload": payload}
    answer = httpx.post(f"{base}/api/ingest", json=body)
    assert answer.status_code == 202, answer.text


def publish_some(base, numbers):
    for number in numbers:
        publish(base, "step", {"n": number, "text": "x" * 200})


def publish_rest(base):
    publish_some(base, range(EVENTS // 3, EVENTS - 1))
    publish(base, "run_end", {"output": "done"})


class CuttingProxy:
    """Breaks each of the first connections off in the middle of what they read."""

    def __init__(self, base, cuts):
        self.target = (httpx.URL(base).host, httpx.URL(base).port)
        self.cuts = cuts
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            upstream = socket.create_connection(self.target)
            threading.Thread(target=self.forward, args=(client, upstream, False), daemon=True).start()
            threading.Thread(target=self.forward, args=(upstream, client, True), daemon=True).start()

    def forward(self, source, sink, is_answer):
        count = 0
        try:
            while data := source.recv(4096):
                sink.sendall(data)
                count += len(data)
                if is_answer and self.cuts > 0 and count > 9_000:
                    self.cuts -= 1
                    break
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


def follow(base):
    """Reads to the end of the run, coming back with the id of the last event as a browser does."""
    ids = []
    while True:
        headers = {"Last-Event-ID": ids[-1]} if ids else {}
        try:
            with httpx.Client(timeout=30) as client:
                url = f"{base}/api/structure-runs/{RUN}/events/stream"
                with httpx_sse.connect_sse(client, "GET", url, headers=headers) as source:
                    if source.response.status_code == 204:
                        return ids
                    for event in source.iter_sse():
                        assert json.loads(event.data)["structure_run_id"] == RUN
                        ids.append(event.id)
        except (httpx.RemoteProtocolError, httpx.ReadError):
            pass


def main():
    base = f"http://{sys.argv[1]}"
    publish_some(base, range(EVENTS // 3))
    proxy = CuttingProxy(base, 2)
    publisher = threading.Thread(target=publish_rest, args=(base,))
    publisher.start()
    ids = follow(proxy.base)
    publisher.join()
    assert ids == [str(number) for number in range(1, EVENTS + 1)], ids
    assert proxy.cuts == 0
    print("ok")


main()
