# SPDX-License-Identifier: Apache-2.0
"""Receivers of webhooks, good ones and others, on real sockets."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import json
import pathlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: Seconds to wait for what must come.
PATIENCE = 60.0


@dataclass(frozen=True)
class Got:
    """A request that came."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


Behaviour = Callable[[http.server.BaseHTTPRequestHandler, int], None]


def answer(
    status: int, body: bytes = b'', **headers: str
) -> Callable[[http.server.BaseHTTPRequestHandler, int], None]:
    """Return the behaviour of always answering the same."""

    def behave(
        handler: http.server.BaseHTTPRequestHandler, _number: int
    ) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace('_', '-'), value)
        handler.send_header('Content-Length', str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Return the behaviour of one after the other, then always the last."""

    def behave(
        handler: http.server.BaseHTTPRequestHandler, number: int
    ) -> None:
        behaviours[min(number, len(behaviours) - 1)](handler, number)

    return behave


class Receiver:
    """An HTTP server that notes what comes.

    :param behave: answers a request, given how many came before
    :param host: an address of this machine's own network, 127.0.0.0/8
    :param tls: speaks TLS by it
    """

    def __init__(
        self,
        behave: Behaviour | None = None,
        host: str = '127.0.0.1',
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.behave = behave or answer(200)
        self.got: list[Got] = []
        self._changed = threading.Condition()
        self._server = _Server((host, 0), _handler(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True
            )
        self.port = self._server.server_port
        self.url = f'{"https" if tls else "http"}://{host}:{self.port}'
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def wait(self, count: int, patience: float = PATIENCE) -> list[Got]:
        """Return all requests, once there are as many."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.got) >= count, patience)
            assert len(self.got) >= count, f'{len(self.got)} of {count}'
            return list(self.got)

    def note(self, got: Got) -> int:
        """Note a request; return how many came before."""
        with self._changed:
            self.got.append(got)
            self._changed.notify_all()
            return len(self.got) - 1

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


class Silent:
    """A server that accepts and never says a word."""

    def __init__(self, host: str = '127.0.0.1') -> None:
        self._listener = socket.create_server((host, 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.url = f'http://{host}:{self.port}'

    def stop(self) -> None:
        """End it."""
        self._listener.close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients here are cut off on purpose."""


def _handler(
    receiver: Receiver,
) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'
        # Head and body of an answer go together.
        wbufsize = -1

        def do_POST(self) -> None:
            size = int(self.headers.get('Content-Length') or 0)
            body = self.rfile.read(size)
            headers = {
                name.lower(): value for name, value in self.headers.items()
            }
            got = Got(self.path, headers, body, time.monotonic())
            receiver.behave(self, receiver.note(got))

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    return Handler


def certificate(folder: pathlib.Path, *names: str) -> ssl.SSLContext:
    """Return what speaks TLS under names, signed by itself.

    The certificate lies in the folder as ``ca.pem``.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'test')])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(
            x509.SubjectAlternativeName([_name(one) for one in names]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / 'ca.pem').write_bytes(
        builder.public_bytes(serialization.Encoding.PEM)
    )
    (folder / 'key.pem').write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / 'ca.pem', folder / 'key.pem')
    return context


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
