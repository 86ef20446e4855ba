# SPDX-License-Identifier: Apache-2.0
"""A client of the application that can say things no library would."""

from __future__ import annotations

import dataclasses
import io
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from zaqar.api.microversion_negotiation import HEADER
from zaqar.microversion_constants import Version
from zaqar.service_assembly import Service
from zaqar.tests.functional.http import engines
from zaqar.transport.wsgi_types import App

CLIENT = str(uuid.UUID(int=1))
OTHER_CLIENT = str(uuid.UUID(int=2))
PROJECT = 'a-project'

PATCH = 'application/openstack-messaging-v2.0-json-patch'

#: Stands for a body that is not there.
ABSENT = object()


@dataclass(frozen=True)
class Response:
    """An answer, its headers by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def title(self) -> str:
        return str(self.json['title'])

    @property
    def description(self) -> str:
        return str(self.json['description'])

    def is_error(self, status: int, title: str, part: str = '') -> bool:
        """Tell whether it is this error, and shaped as errors are."""
        assert self.status == status, self
        assert self.headers['content-type'] == 'application/json'
        assert self.headers['vary'] == 'Accept'
        assert set(self.json) <= {'title', 'description'}
        assert self.title == title, self
        if part:
            assert part in self.description, self
        return True


class MovedClock:
    """The clock of the store; tests move it.

    :ivar ahead: milliseconds by which this process errs
    """

    def __init__(self) -> None:
        self.at = 1_800_000_000_000
        self.ahead = 0

    def now(self) -> int:
        return self.at + self.ahead

    def server_now(self) -> int:
        return self.at

    def move(self, seconds: float) -> None:
        self.at += int(seconds * 1000)


@dataclass
class Api:
    """The application under test.

    :ivar version: the header of each request that names none of its own
    :ivar app: what is asked; made of the service unless given
    """

    service: Service
    clock: MovedClock = field(default_factory=MovedClock)
    project: str = PROJECT
    client: str = CLIENT
    roles: str | None = None
    version: str = ''
    app: App | None = None

    def __post_init__(self) -> None:
        self.app = self.app or self.service.application()
        store = self.service.catalogue.messages
        store.clock = self.clock  # type: ignore[assignment]
        management = self.service.catalogue.management
        management.clock = self.clock  # type: ignore[assignment]

    def __call__(
        self,
        method: str,
        path: str,
        document: Any = ABSENT,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
        environ: Mapping[str, Any] | None = None,
    ) -> Response:
        """Send a request.

        :param document: sent as JSON
        :param raw: sent as it is
        :param headers: added to the usual ones; None takes one away
        :param environ: laid over what the server would make of it
        """
        if document is not ABSENT:
            raw = json.dumps(document).encode()
        sent = dict(headers or {})
        version = self.version or engines.current.version
        is_default = version and HEADER not in sent
        sent.setdefault(HEADER, version or None)
        scope = self._environ(method, path, raw, sent)
        answer = self.exchange({**scope, **(environ or {})})
        return without_version(answer, version) if is_default else answer

    def _environ(
        self,
        method: str,
        path: str,
        raw: bytes | None,
        headers: Mapping[str, str | None],
    ) -> dict[str, Any]:
        path, _, query = path.partition('?')
        environ: dict[str, Any] = {
            'REQUEST_METHOD': method,
            'SCRIPT_NAME': '',
            'PATH_INFO': unquote_to_bytes(path).decode('latin-1'),
            'QUERY_STRING': query,
            'SERVER_NAME': 'localhost',
            'SERVER_PORT': '8888',
            'SERVER_PROTOCOL': 'HTTP/1.1',
            'REMOTE_ADDR': '127.0.0.1',
            'wsgi.version': (1, 0),
            'wsgi.url_scheme': 'http',
            'wsgi.input': io.BytesIO(raw or b''),
            'wsgi.errors': io.StringIO(),
            'wsgi.multithread': True,
            'wsgi.multiprocess': False,
            'wsgi.run_once': False,
        }
        defaults = {'Client-ID': self.client, 'X-Project-ID': self.project}
        if self.roles is not None:
            defaults['X-Roles'] = self.roles
        if raw is not None:
            defaults['Content-Length'] = str(len(raw))
        for name, value in {**defaults, **headers}.items():
            key = name.upper().replace('-', '_')
            if key not in ('CONTENT_TYPE', 'CONTENT_LENGTH'):
                key = f'HTTP_{key}'
            if value is not None:
                environ[key] = value.encode().decode('latin-1')
        return environ

    def exchange(self, environ: dict[str, Any]) -> Response:
        """Call the application with a request as WSGI servers make it."""
        assert self.app is not None
        started: list[Any] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], *_more: Any
        ) -> None:
            started[:] = [status, headers]

        body = b''.join(self.app(environ, start_response))
        status, headers = started
        named = {name.lower(): value for name, value in headers}
        if int(named.get('content-length', len(body))) != len(body):
            assert environ['REQUEST_METHOD'] == 'HEAD'
        return Response(int(status[:3]), named, body)

    def on_topics(self) -> Api:
        """Return the same service, asked about topics for queues."""
        return OnTopics(
            self.service,
            self.clock,
            self.project,
            self.client,
            version=self.version,
            app=self.app,
        )

    def as_other(self) -> Api:
        """Return the same service for another client of the project."""
        return self.with_changes(client=OTHER_CLIENT)

    def as_project(self, project: str) -> Api:
        """Return the same service for another project."""
        return self.with_changes(project=project)

    def as_admin(self) -> Api:
        """Return the same service for an administrator."""
        return self.with_changes(roles='admin')

    def at(self, version: Version) -> Api:
        """Return the same service, asked in another version."""
        return self.with_changes(version=version.header)

    def with_changes(self, **changes: str | None) -> Api:
        """Return the same service, with other attributes of this."""
        values: dict[str, Any] = {
            'project': self.project,
            'client': self.client,
            'roles': self.roles,
            'version': self.version,
            'app': self.app,
            **changes,
        }
        return Api(self.service, self.clock, **values)

    def post(self, queue: str, *bodies: Any, **fields: Any) -> list[str]:
        """Post messages and return their ids."""
        messages = [{'body': body, **fields} for body in bodies]
        answer = self(
            'POST', f'/v2/queues/{queue}/messages', {'messages': messages}
        )
        assert answer.status == 201, answer
        return [path.split('/')[-1] for path in answer.json['resources']]

    def claim(self, queue: str, **options: Any) -> Response:
        """Claim messages."""
        return self('POST', f'/v2/queues/{queue}/claims', options)

    def bodies(self, queue: str, query: str = 'echo=true') -> list[Any]:
        """Return the bodies that a listing shows."""
        answer = self('GET', f'/v2/queues/{queue}/messages?{query}')
        assert answer.status == 200, answer
        return [message['body'] for message in answer.json['messages']]


def without_version(answer: Response, version: str) -> Response:
    """Return an answer as a client that names no version gets it."""
    headers = dict(answer.headers)
    assert headers.pop(HEADER.lower()) == version
    *vary, last = headers.pop('vary').split(', ')
    assert last == HEADER
    if vary:
        headers['vary'] = ', '.join(vary)
    return dataclasses.replace(answer, headers=headers)


class OnTopics(Api):
    """An application that is asked about topics wherever we say queues."""

    def __call__(self, method: str, path: str, *rest: Any, **more: Any) -> Any:
        path = path.replace('/v2/queues', '/v2/topics')
        return super().__call__(method, path, *rest, **more)
