# SPDX-License-Identifier: Apache-2.0
"""Traces of requests: admin/osprofiler, with a Redis for them."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from zaqar.tests.functional import traces
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import Api, Response
from zaqar.tests.functional.http.conftest import POOLED, VIRTUAL, MakeApi
from zaqar.tests.functional.traces import names, points, profiled
from zaqar.tests.servers import process

pytestmark = pytest.mark.sqlite

#: Options of the layers, and what a trace calls them.
LAYERS = {
    'trace_wsgi_transport': 'wsgi',
    'trace_message_store': 'sqlalchemy_message_controller',
    'trace_management_store': 'sqlalchemy_management_controller',
}

QUEUE = '/v2/queues/q'


@pytest.fixture(scope='module')
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis server."""
    folder: pathlib.Path = tmp_path_factory.mktemp('redis')
    server, url = traces.serve(folder)
    yield url
    server.stop()


@pytest.fixture(autouse=True)
def _quiet_afterwards() -> Iterator[None]:
    """Leave no back end behind: there is one for a process."""
    yield
    notifier: Any = sys.modules.get('osprofiler.notifier')
    if notifier is not None:
        notifier.set(notifier._noop_notifier)


def traced(api: Api, method: str, path: str, *document: Any) -> Any:
    """Send a request that asks for a trace; return its id and the answer."""
    trace, headers = traces.headers()
    return trace, api(method, path, *document, headers=headers)


def _warnings(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Return what was logged as worse than normal since the last look."""
    lines = ''.join(capfd.readouterr()).splitlines()
    assert not [line for line in lines if 'Traceback' in line]
    return [line for line in lines if ' INFO ' not in line]


@pytest.mark.parametrize('layer', LAYERS)
def test_each_layer_is_traced_by_its_option(
    make_api: MakeApi, redis: str, layer: str
) -> None:
    api = make_api(profiled(redis, layer))
    trace, answer = traced(api, 'PUT', QUEUE)
    assert answer.status == 201
    assert traced(api, 'GET', f'{QUEUE}/messages')[1].status == 200
    more, _ = traced(api, 'GET', f'{QUEUE}/stats')
    seen = [*names(redis, trace), *names(redis, more)]
    assert seen
    assert all(name.startswith(LAYERS[layer]) for name in seen)


def test_a_trace_tells_of_every_layer_in_order(
    make_api: MakeApi, redis: str
) -> None:
    api = make_api(profiled(redis, *LAYERS))
    trace, answer = traced(
        api, 'POST', f'{QUEUE}/messages', {'messages': [{'body': 'secret'}]}
    )
    assert answer.status == 201
    assert answer.headers['location'].startswith('/v2/')
    seen = names(redis, trace)
    assert (seen[0], seen[-1]) == ('wsgi-start', 'wsgi-stop')
    assert 'sqlalchemy_management_controller.create-start' in seen
    assert seen.count('sqlalchemy_message_controller.post-start') == 1
    assert seen.count('sqlalchemy_message_controller.post-stop') == 1


def test_stores_of_pools_are_traced_too(make_api: MakeApi, redis: str) -> None:
    text = POOLED + VIRTUAL + profiled(redis, 'trace_message_store')
    api = make_api(text).as_admin()
    pools.make(api, 'east')
    trace, answer = traced(
        api, 'POST', f'{QUEUE}/messages', {'messages': [{'body': 1}]}
    )
    assert answer.status == 201
    assert pools.holds(api, 'east') == 1
    assert 'sqlalchemy_message_controller.post-start' in names(redis, trace)


@pytest.mark.proves('logs without secrets')
def test_no_body_and_no_token_is_in_a_trace(
    make_api: MakeApi, redis: str
) -> None:
    api = make_api(profiled(redis, *LAYERS))
    message = {'messages': [{'body': 'attack at dawn'}]}
    trace, _ = traced(api, 'POST', f'{QUEUE}/messages', message)
    more, _ = traced(api, 'DELETE', f'{QUEUE}/messages?pop=1')
    text = json.dumps([*points(redis, trace), *points(redis, more)])
    assert 'wsgi-start' in text
    assert 'attack' not in text


def test_only_who_knows_a_key_is_traced(make_api: MakeApi, redis: str) -> None:
    api = make_api(profiled(redis, *LAYERS))
    trace = str(uuid.uuid4())
    forged = {'X-Trace-Info': f'{{"base_id": "{trace}"}}', 'X-Trace-HMAC': 'x'}
    strange = {**forged, 'X-Trace-HMAC': 'é'}
    for headers in (forged, strange, {'X-Trace-Info': ''}):
        assert api('PUT', QUEUE, headers=headers).status in (201, 204)
    assert names(redis, trace) == []


def test_a_request_that_fails_fails_alike_when_traced(
    make_api: MakeApi, redis: str
) -> None:
    api = make_api(profiled(redis, *LAYERS))
    path = f'{QUEUE}/messages/no-such'
    trace, answer = traced(api, 'GET', path)
    plain = api('GET', path)
    assert (answer.status, answer.body) == (plain.status, plain.body)
    assert names(redis, trace)[-1] == 'wsgi-stop'


def test_a_back_end_that_is_down_fails_no_request(
    make_api: MakeApi, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('redis')
    down = f'redis://127.0.0.1:{process.free_port()}'
    api = make_api(profiled(down, *LAYERS))
    _, answer = traced(api, 'PUT', QUEUE)
    assert answer.status == 201
    assert 'A trace is lost: ConnectionError\n' in ''.join(capfd.readouterr())


@pytest.mark.parametrize('where', ['nothing://:hidden@host', 'messaging://'])
def test_a_back_end_that_cannot_be_loaded_is_one_line_of_warning(
    make_api: MakeApi,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    # As where oslo.messaging is not installed.
    monkeypatch.setitem(sys.modules, 'oslo_messaging', None)
    api = make_api(profiled(where, *LAYERS))
    (line,) = _warnings(capfd)
    assert 'connection_string cannot be loaded: ' in line
    assert 'hidden' not in line
    answer: Response = traced(api, 'PUT', QUEUE)[1]
    assert answer.status == 201


def test_the_key_that_everybody_knows_is_warned_of(
    make_api: MakeApi, redis: str, capfd: pytest.CaptureFixture[str]
) -> None:
    make_api(profiled(redis))
    assert _warnings(capfd) == []
    make_api(profiled(redis).replace(f'other,{traces.KEY}', 'SECRET_KEY'))
    (line,) = _warnings(capfd)
    assert '[profiler] hmac_keys' in line


def test_no_back_end_is_loaded_while_profiling_is_off(
    tmp_path: pathlib.Path,
) -> None:
    file = tmp_path / 'zaqar.conf'
    lines = [f'{layer} = true' for layer in LAYERS]
    text = '\n'.join(['[profiler]', *lines, 'connection_string = nothing://'])
    file.write_text(f'[DEFAULT]\nstate_path = {tmp_path}\n{text}\n')
    script = f"""
import sys
from zaqar import config_loading, service_assembly
conf = config_loading.load('zaqar-server', ['--config-file', '{file}'])
built = service_assembly.Service(conf)
built.application()
built.close()
from osprofiler import notifier
assert 'osprofiler.opts' not in sys.modules
assert 'oslo_messaging' not in sys.modules
print(notifier.get().__name__)
"""
    done = subprocess.run(
        [sys.executable, '-c', script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == '_noop_notifier\n'
    assert 'rofil' not in done.stderr


def test_options_that_are_looked_at_early_are_as_osprofiler_has_them() -> None:
    from osprofiler import opts

    from zaqar import osprofiler_tracing

    theirs = {opt.dest: opt for _, group in opts.list_opts() for opt in group}
    for option in osprofiler_tracing.LIBRARY_OPTS:
        assert type(option) is type(theirs[option.dest])
        assert option.default == theirs[option.dest].default
        assert option.deprecated_opts == theirs[option.dest].deprecated_opts
