# SPDX-License-Identifier: Apache-2.0
"""URIs of Redis, read without a server."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.errors import ConfigurationError
from zaqar.storage.redis.uri_parsing import (
    ConnectionSettings,
    Login,
    Mode,
    parse,
)


def read(uri: str, **options: Any) -> ConnectionSettings:
    """Read a URI."""
    return parse(uri, options)


@pytest.mark.parametrize(
    ('uri', 'hosts'),
    [
        ('redis://localhost', [('localhost', 6379)]),
        ('redis://localhost/', [('localhost', 6379)]),
        ('redis://localhost:7000', [('localhost', 7000)]),
        ('redis://10.0.0.1:7000', [('10.0.0.1', 7000)]),
        ('redis://[::1]', [('::1', 6379)]),
        ('redis://[::1]:7000', [('::1', 7000)]),
        ('redis://:secret@cache.example.org', [('cache.example.org', 6379)]),
    ],
)
def test_one_host_is_one_server(uri: str, hosts: list[Any]) -> None:
    settings = read(uri)
    assert settings.mode is Mode.STANDALONE
    assert list(settings.hosts) == hosts
    assert settings.path == ''


def test_hosts_with_a_master_are_sentinels() -> None:
    settings = read(
        'redis://u:p@a,b:1,[::1]:2?master=m'
        '&sentinel_username=su&sentinel_password=sp'
    )
    assert settings.mode is Mode.SENTINEL
    assert settings.hosts == (('a', 26379), ('b', 1), ('::1', 2))
    assert settings.master == 'm'
    assert settings.credentials == Login('u', 'p')
    assert settings.sentinel_credentials == Login('su', 'sp')


def test_one_sentinel_is_enough() -> None:
    assert read('redis://a?master=m').mode is Mode.SENTINEL


def test_a_cluster_has_a_scheme_of_its_own() -> None:
    settings = read('redis+cluster://:p@a,b:7001')
    assert settings.mode is Mode.CLUSTER
    assert settings.hosts == (('a', 6379), ('b', 7001))
    assert settings.ssl is None
    assert read('rediss+cluster://a').ssl is not None
    assert read('redis+cluster://a?ssl=true').ssl is not None


@pytest.mark.parametrize(
    ('uri', 'path'),
    [
        ('redis:///run/redis.sock', '/run/redis.sock'),
        ('redis://:p@/run/redis.sock?dbid=2', '/run/redis.sock'),
        ('redis://u:p@/run/a@b/redis.sock', '/run/a@b/redis.sock'),
    ],
)
def test_a_path_is_a_socket(uri: str, path: str) -> None:
    settings = read(uri)
    assert settings.mode is Mode.STANDALONE
    assert (settings.path, settings.hosts) == (path, ())


def test_special_characters_of_a_login_are_escaped() -> None:
    settings = read('redis://us%40er:p%3A%2F%3F%23%25@a')
    assert settings.credentials == Login('us@er', 'p:/?#%')


def test_numbers_of_the_uri_and_their_defaults() -> None:
    assert read('redis://a').database == 0
    assert read('redis://a?dbid=3').database == 3
    assert read('redis://a/3').database == 3
    assert read('redis://a').read_timeout == 2.0
    assert read('redis://a?socket_timeout=0.1').read_timeout == 0.1
    assert read('redis://a?socket_timeout=60').read_timeout == 3.0
    assert read('redis://a').prefix == 'zq'
    assert read('redis://a?prefix=other').prefix == 'other'


def test_a_wait_for_replicas_is_waited_for() -> None:
    settings = read('redis://a?socket_timeout=0.1', wait_replicas=1)
    assert settings.read_timeout > settings.wait_timeout


@pytest.mark.parametrize(
    ('option', 'tries'), [(0, 1), (1, 2), (2, 3), (99, 3)]
)
def test_tries_are_three_at_most(option: int, tries: int) -> None:
    assert read('redis://a', max_reconnect_attempts=option).attempts == tries


def test_options_of_tls_come_from_the_uri_or_else_from_the_group() -> None:
    settings = read(
        'rediss://a?ssl_cert_reqs=optional',
        ssl_cert_reqs='CERT_NONE',
        ssl_check_hostname=False,
    )
    assert settings.ssl == {
        'ssl_cert_reqs': 'optional',
        'ssl_check_hostname': False,
    }
    plain = read('rediss://a').ssl
    assert plain == {'ssl_cert_reqs': 'required', 'ssl_check_hostname': True}
    free = read('rediss://a', ssl_cert_reqs='CERT_NONE').ssl
    assert free == {'ssl_cert_reqs': 'none', 'ssl_check_hostname': False}


@pytest.mark.parametrize(
    ('uri', 'fault'),
    [
        ('', 'must begin'),
        ('redis', 'must begin'),
        ('redis:/a', 'must begin'),
        ('http://a', 'must begin'),
        ('redis+sentinel://a', 'must begin'),
        ('redis://', 'no host'),
        ('redis:///', 'no host'),
        ('redis+cluster:///run/redis.sock', 'no host'),
        ('redis://?master=m', 'no host'),
        ('redis://user@a', 'user without a password'),
        ('redis://user:@a', 'user without a password'),
        ('redis://@a', 'user without a password'),
        ('redis://a,b', 'several hosts'),
        ('redis://a:port', 'malformed host'),
        ('redis://a:', 'malformed host'),
        ('redis://a:1:2', 'malformed host'),
        ('redis://::1', 'malformed host'),
        ('redis://a b', 'malformed host'),
        ('redis://a:0', 'malformed port'),
        ('redis://a:65536', 'malformed port'),
        ('redis://a/run/redis.sock', 'host and a path'),
        ('redis://a/1?dbid=1', 'host and a path'),
        ('redis://a?dbid=x', '"dbid"'),
        ('redis://a?dbid=-1', '"dbid"'),
        ('redis://a?dbid=\N{ARABIC-INDIC DIGIT ONE}', '"dbid"'),
        ('redis://a?socket_timeout=0', '"socket_timeout"'),
        ('redis://a?socket_timeout=inf', '"socket_timeout"'),
        ('redis://a?socket_timeout=x', '"socket_timeout"'),
        ('redis://a?master=', '"master"'),
        ('redis+cluster://a?master=m', '"master"'),
        ('redis+cluster://a?dbid=1', 'no databases'),
        ('redis://a?replicaSet=x', 'unknown option "replicaSet"'),
        ('redis://a?dbid=1&dbid=2', 'twice'),
        ('redis://a?dbid', 'malformed'),
        ('redis://a?prefix={}', '"prefix"'),
        ('redis://a?prefix=', '"prefix"'),
        ('redis://a?ssl=maybe', '"ssl"'),
        ('rediss://a?ssl=false', 'refuses TLS'),
        ('redis://a?ssl_ca_certs=/x', 'without ssl=true'),
        ('rediss://a?ssl_ca_certs=/does/not/exist', 'cannot be read'),
        ('rediss://a?ssl_cert_reqs=some', 'ssl_cert_reqs'),
        ('redis://a?master=m&sentinel_username=u', 'sentinel_username'),
    ],
)
def test_a_fault_is_told_in_one_line_without_the_password(
    uri: str, fault: str
) -> None:
    with pytest.raises(ConfigurationError, match=fault) as caught:
        read(uri.replace('://', '://:secret@') if '@' not in uri else uri)
    assert 'secret' not in str(caught.value)
    assert '\n' not in str(caught.value)
