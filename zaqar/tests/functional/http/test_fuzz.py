# SPDX-License-Identifier: Apache-2.0
"""Whatever is sent: no 500, an error in JSON, and nothing changed."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zaqar import config_loading, service_assembly
from zaqar.api import operation_table
from zaqar.tests.functional.http.client import PATCH, Api, Response
from zaqar.tests.functional.http.conftest import POOLED, VIRTUAL
from zaqar.tests.functional.http.engines import Engine

FUZZ = settings(
    max_examples=100,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)

QUEUE = '/v2/queues/kept'

#: Everything is on.
ALL = f"""{POOLED}{VIRTUAL}
[signed_url]
secret_key = a key of some length
[transport]
message_encryption_key = a key of some length
"""

#: Values at which types and ranges break.
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(['messages', '/metadata/a', '', '60', 2**63, -1, 60])
    | st.sampled_from(['http://a.b', 'sqlite:////none/a', 'GET', 'claims']),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        'messages',
                        'body',
                        'ttl',
                        'delay',
                        'grace',
                        'op',
                        'path',
                    ),
                    *('value', 'resource_types', '_default_message_ttl'),
                    *(
                        '_max_claim_count',
                        '_retry_policy',
                        '_dead_letter_queue',
                    ),
                    *('_max_messages_post_size', '_max_messages', 'x', '\0'),
                    *('uri', 'weight', 'flavor', 'options', 'pool_list'),
                    *('subscriber', 'confirmed', 'paths', 'methods'),
                    *('expires', '_flavor', '_enable_encrypt_messages'),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)

BODIES = st.binary(max_size=200) | VALUES.map(
    lambda value: json.dumps(value).encode()
)

HEADER_TEXT = st.text(
    st.characters(min_codepoint=0, max_codepoint=255), max_size=60
)

NAMES = st.sampled_from(
    [
        *('Client-ID', 'X-Project-ID', 'Accept', 'Content-Type'),
        *('Content-Length', 'Transfer-Encoding', 'X-Roles', 'URL-Signature'),
        *('X-Tenant-Id', 'X-OpenStack-Request-ID', 'Origin', 'EXTRA-SPEC'),
        *('X-User-Id', 'X-HTTP-Method-Override', 'Host', 'Expect'),
    ]
)

METHODS = st.sampled_from(
    ['GET', 'PUT', 'POST', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'X']
)


class Fuzzed:
    """An application with something in it that must not change.

    :ivar state: all there is to see, in this project and in any other
    """

    def __init__(self, service: service_assembly.Service) -> None:
        self.api = Api(service).as_admin()
        # Another one, that no header of a request has an effect on.
        self._reader = Api(service, self.api.clock).as_admin()
        self.fill()

    def fill(self) -> None:
        """Make the queue anew."""
        api = self._reader
        api('DELETE', QUEUE)
        api('PUT', QUEUE, {'a': 1})
        api.post('kept', *range(5))
        api('POST', f'{QUEUE}/claims?limit=2', {'ttl': 43200})
        self.state = self._read()

    def check(self, answer: Response) -> bool:
        """Hold an answer against what it left; tell if that is a change."""
        assert answer.status < 500, answer
        before, self.state = self.state, self._read()
        if answer.status >= 400:
            assert self.state == before
        return self.state != before

    def _read(self) -> Any:
        api = self._reader
        paths = (
            '/v2/queues?detailed=1&with_count=1&limit=20',
            f'{QUEUE}/messages?echo=1&include_claimed=1&include_delayed=1',
            *(f'{QUEUE}/stats', f'{QUEUE}/subscriptions', '/v2/topics'),
            *('/v2/pools?detailed=1', '/v2/flavors?detailed=1'),
        )
        return [api('GET', path).body for path in paths]


@pytest.fixture(scope='module')
def fuzzed(
    tmp_path_factory: pytest.TempPathFactory, engine: Engine
) -> Iterator[Fuzzed]:
    """An application that is looked at after each request."""
    folder: pathlib.Path = tmp_path_factory.mktemp('fuzz')
    file = folder / 'zaqar.conf'
    place = engine.place(str(folder))
    file.write_text(f'[DEFAULT]\nstate_path = {folder}\n{ALL}{place}')
    conf = config_loading.load('zaqar-server', ['--config-file', str(file)])
    built = service_assembly.Service(conf)
    yield Fuzzed(built)
    built.close()
    engine.clean(str(folder))


WRITERS = [
    row
    for row in operation_table.OPERATIONS
    if row.http and row.body is not None
]


@pytest.mark.parametrize('row', WRITERS, ids=lambda row: row.name)
@FUZZ
@given(raw=BODIES)
def test_any_body(fuzzed: Fuzzed, row: Any, raw: bytes) -> None:
    path = re.sub(r'{(queue|topic)_name}', 'kept', row.path)
    path = re.sub(r'{\w+}', 'f' * 32, path)
    if row.name == 'queue_create':
        path = QUEUE  # which exists, so that nothing may change
    # The queue that is written to is another one, but for refusals.
    answer = fuzzed.api(
        row.method, path, raw=raw, headers={'Content-Type': PATCH}
    )
    is_changed = fuzzed.check(answer)
    if answer.status >= 400:
        assert answer.headers['content-type'] == 'application/json'
        assert answer.json['title']
    elif is_changed:
        fuzzed.fill()


@FUZZ
@given(
    headers=st.dictionaries(NAMES, HEADER_TEXT, max_size=4),
    method=METHODS,
    path=st.sampled_from(sorted(operation_table.routes())),
)
def test_any_header(
    fuzzed: Fuzzed, headers: dict[str, str], method: str, path: str
) -> None:
    path = re.sub(r'{(queue|topic)_name}', 'fuzz', path)
    path = re.sub(r'{\w+}', 'f' * 32, path)
    environ = {_key(name): value for name, value in headers.items()}
    answer = fuzzed.api(method, path, raw=b'{}', environ=environ)
    fuzzed.check(answer)


def _key(name: str) -> str:
    key = name.upper().replace('-', '_')
    return key if key.startswith('CONTENT_') else f'HTTP_{key}'


@FUZZ
@given(
    path=st.text(
        st.characters(min_codepoint=0, max_codepoint=255), max_size=40
    ),
    query=st.text(
        st.characters(min_codepoint=33, max_codepoint=126), max_size=40
    ),
    method=METHODS,
    base=st.sampled_from(
        [*('/', '/v2/', '/v2/queues/'), f'{QUEUE}/messages/', f'{QUEUE}/']
    ),
)
def test_any_path_and_query(
    fuzzed: Fuzzed, path: str, query: str, method: str, base: str
) -> None:
    answer = fuzzed.api(
        method,
        '/',
        raw=b'{}',
        environ={'PATH_INFO': base + path, 'QUERY_STRING': query},
    )
    fuzzed.check(answer)


@FUZZ
@given(
    values=st.dictionaries(
        st.sampled_from(
            [
                *('limit', 'marker', 'echo', 'include_claimed', 'ids', 'pop'),
                *('include_delayed', 'detailed', 'name', 'with_count'),
                *('claim_id', 'claim_ids', 'other'),
            ]
        ),
        st.sampled_from(
            [
                *('', '0', '-1', '1', '21', 'x', 'true', 'TRUE', 'None'),
                *('%00', '%ff', '%C3%A9', 'a,b', 'f' * 32, '9' * 5000, '%20'),
                '%D9%A1',
            ]
        ),
        max_size=3,
    ),
    method=st.sampled_from(['GET', 'DELETE', 'POST']),
    path=st.sampled_from(
        ['/v2/queues', f'{QUEUE}/messages/x', '/v2/queues/fuzz/messages']
    ),
)
def test_any_parameter(
    fuzzed: Fuzzed, values: dict[str, str], method: str, path: str
) -> None:
    query = '&'.join(f'{name}={value}' for name, value in values.items())
    answer = fuzzed.api(method, f'{path}?{query}', raw=b'')
    fuzzed.check(answer)
