"""The connection to a server: address, TLS, key, and one call."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc

from runlog.v1 import event_service_pb2, event_service_pb2_grpc

_CHANNEL_OPTIONS = [
    # The publisher retries by itself, and a server that is back is found within a second.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # How long one attempt to connect may take, whatever its name says.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    # Pings detect a dead connection.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]


def from_environment(name: str) -> str | None:
    """The value of a variable; an empty one is unset."""
    return os.environ.get(name) or None


@dataclass(frozen=True)
class Address:
    """Address of a server."""

    target: str
    is_tls: bool

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parses `http://host:port`, `https://host` or `host:port`; a ValueError for anything else."""
        problem = f"server: {url!r} is no address; it looks like http://127.0.0.1:7800 or https://runlog.example.com"
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port
        except ValueError as error:
            raise ValueError(problem) from error
        host = parts.hostname
        if parts.scheme not in ("http", "https") or not host or parts.path.strip("/") or parts.query or parts.username:
            raise ValueError(problem)
        is_tls = parts.scheme == "https"
        host = f"[{host}]" if ":" in host else host
        return cls(f"{host}:{port or (443 if is_tls else 80)}", is_tls)


@dataclass(frozen=True, repr=False)
class Credentials:
    """Key and TLS files. Files are read when they are used, so that one that comes late or changes is taken."""

    key: str | None = None
    key_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    cert_key: Path | None = None

    @classmethod
    def choose(
        cls,
        key: str | None,
        key_file: str | os.PathLike[str] | None,
        ca: str | os.PathLike[str] | None,
        cert: str | os.PathLike[str] | None,
        cert_key: str | os.PathLike[str] | None,
    ) -> Credentials:
        """What is given here, else what the environment has."""

        def path(given: str | os.PathLike[str] | None, variable: str) -> Path | None:
            chosen = given or from_environment(variable)
            return Path(chosen) if chosen else None

        if key and key_file:
            raise ValueError("key and key_file: give one of them")
        file = None if key else path(key_file, "RUNLOG_KEY_FILE")
        text = key or (None if file else from_environment("RUNLOG_KEY"))
        if text is not None and (":" not in text or not text.strip().isascii() or len(text.split()) != 1):
            raise ValueError("key: no key; it looks like key_<id>:<secret>, and `runlog keys create` makes one")
        chosen = cls(text, file, path(ca, "RUNLOG_CA"), path(cert, "RUNLOG_CERT"), path(cert_key, "RUNLOG_CERT_KEY"))
        if (chosen.cert is None) != (chosen.cert_key is None):
            raise ValueError("cert and cert_key: give both or none")
        return chosen

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata of a call."""
        key = self.key_file.read_text(encoding="ascii") if self.key_file else self.key
        return (("authorization", f"Bearer {key.strip()}"),) if key else ()

    def of_channel(self) -> Any:
        """TLS of a channel."""
        ca, chain, key = (file.read_bytes() if file else None for file in (self.ca, self.cert, self.cert_key))
        return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=chain)


class Connection:
    """A channel to one server, opened by the first call. Only one thread at a time may use it, but for `cancel`."""

    def __init__(self, address: Address, credentials: Credentials) -> None:
        self.address = address
        self.credentials = credentials
        self._channel: Any = None
        self._stub: Any = None

    def publish(self, request: event_service_pb2.PublishRequest, timeout: float) -> event_service_pb2.PublishResponse:
        """One call. Raises grpc.RpcError, or OSError for a file of the credentials."""
        if self._stub is None:
            if self.address.is_tls:
                self._channel = grpc.secure_channel(
                    self.address.target, self.credentials.of_channel(), options=_CHANNEL_OPTIONS
                )
            else:
                self._channel = grpc.insecure_channel(self.address.target, options=_CHANNEL_OPTIONS)
            stub: Any = event_service_pb2_grpc.EventServiceStub
            self._stub = stub(self._channel)
        response: event_service_pb2.PublishResponse = self._stub.Publish(
            request, timeout=timeout, metadata=self.credentials.metadata()
        )
        return response

    def cancel(self) -> None:
        """Ends a call of another thread, and every later one."""
        if (channel := self._channel) is not None:
            channel.close()

    def close(self) -> None:
        """Closes the channel."""
        self.cancel()
        self.forget()

    def forget(self) -> None:
        """Lets go of the channel without closing it: after a fork it belongs to the other process."""
        self._channel = self._stub = None
