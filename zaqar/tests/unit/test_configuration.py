# SPDX-License-Identifier: Apache-2.0
"""Options are named, typed, bounded and preset as deployments know them.

The table is what existing configuration files rely on, with the changes that
reference/options, "Deliberate changes" names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from oslo_config import cfg

from zaqar import opts, osprofiler_tracing

_TYPES: dict[str, tuple[type[cfg.Opt], ...]] = {
    'b': (cfg.BoolOpt,),
    'i': (cfg.IntOpt,),
    'f': (cfg.FloatOpt, cfg.IntOpt),
    's': (cfg.StrOpt, cfg.URIOpt),
    'l': (cfg.ListOpt,),
    'm': (cfg.MultiStrOpt,),
    'd': (cfg.DictOpt,),
    'h': (cfg.HostAddressOpt,),
    'p': (cfg.PortOpt,),
}

#: Stands for a default that only its kind is known of.
ANY = object()


@dataclass(frozen=True)
class Row:
    """An option.

    :ivar kind: of the table in the contract: b, i, f, s, l, m, d, h,
        p
    :ivar least: the smallest value that is taken, None for no bound
    """

    group: str
    name: str
    kind: str
    default: Any
    least: int | None = None
    secret: bool = False
    choices: tuple[str, ...] = ()
    old: str = ''

    def __str__(self) -> str:
        return f'{self.group}.{self.name}'


def _rows(group: str, *rows: tuple[Any, ...], **more: Any) -> list[Row]:
    return [Row(group, *row, **more) for row in rows]


def _secret(group: str, name: str, default: Any = None) -> Row:
    kind = 'l' if isinstance(default, list) else 's'
    return Row(group, name, kind, default, secret=True)


_GENERAL = [
    *_rows(
        'DEFAULT',
        ('admin_mode', 'b', False),
        ('unreliable', 'b', False),
        ('enable_deprecated_api_versions', 'l', []),
        ('enable_checksum', 'b', False),
        ('auth_strategy', 's', ''),
        ('state_path', 's', None),
        ('daemon', 'b', False),
    ),
    Row('DEFAULT', 'pooling', 'b', False, old='sharding'),
    Row('drivers', 'transport', 's', None, choices=('wsgi', 'websocket')),
    Row('drivers', 'message_store', 's', None, old='storage'),
    Row('drivers', 'management_store', 's', None),
    Row('pooling:catalog', 'enable_virtual_pool', 'b', False),
    Row('pooling:catalog', 'sqlite_path', 's', None),
    _secret('signed_url', 'secret_key'),
    Row('signed_url', 'verification_keys', 'm', [], secret=True),
    Row('signed_url', 'max_lifetime', 'i', 2_592_000, 1),
    *_rows(
        'quotas',
        ('use_unified_limits', 'b', False),
        ('project_quotas', 'b', False),
        ('queues', 'i', -1, -1),
        ('topics', 'i', -1, -1),
        ('subscriptions', 'i', -1, -1),
        ('subscriptions_per_queue', 'i', -1, -1),
        ('sockets', 'i', -1, -1),
        ('message_bytes', 'i', -1, -1),
        ('delivery_bytes', 'i', -1, -1),
    ),
    *_rows(
        'rates',
        ('requests', 'f', 0.0, 0),
        ('messages', 'f', 0.0, 0),
        ('message_bytes', 'f', 0.0, 0),
        ('deliveries', 'f', 0.0, 0),
        ('mails', 'f', 0.0, 0),
        ('burst', 'f', 10.0),
    ),
    _secret('rates', 'redis_uri'),
    *_rows('gc', ('interval', 'i', 60, 0), ('batch', 'i', 1000, 1)),
    *_rows(
        'profiler',
        ('trace_wsgi_transport', 'b', False),
        ('trace_websocket_transport', 'b', False),
        ('trace_message_store', 'b', False),
        ('trace_management_store', 'b', False),
    ),
]

_TRANSPORT = [
    *_rows(
        'transport',
        ('default_message_ttl', 'i', 3600, 60),
        ('default_message_delay', 'i', 0, 0),
        ('default_claim_ttl', 'i', 300, 60),
        ('default_claim_grace', 'i', 60, 60),
        ('default_subscription_ttl', 'i', 3600, 60),
        ('max_queues_per_page', 'i', 20, 1),
        ('max_messages_per_page', 'i', 20, 1),
        ('max_subscriptions_per_page', 'i', 20, 1),
        ('max_flavors_per_page', 'i', 20, 1),
        ('max_pools_per_page', 'i', 20, 1),
        ('max_messages_per_claim_or_pop', 'i', 20, 1),
        ('max_queue_metadata', 'i', 65536, 1),
        ('max_messages_post_size', 'i', 262144, 1),
        ('max_message_ttl', 'i', 1209600, 60),
        ('max_message_delay', 'i', 900, 0),
        ('max_message_schedule', 'i', 1209600, 0),
        ('max_wait', 'i', 60, 0),
        ('max_claim_ttl', 'i', 43200, 60),
        ('max_claim_grace', 'i', 43200, 60),
        ('max_messages_per_queue', 'i', 0, 0),
        ('min_length_client_id', 'i', 10, 1),
        ('max_length_client_id', 'i', 36, 1),
        ('message_delete_with_claim_id', 'b', False),
        ('message_encryption_algorithms', 's', 'AES256'),
        (
            'subscriber_types',
            'l',
            ['http', 'https', 'mailto', 'trust+http', 'trust+https'],
        ),
    ),
    Row(
        'transport',
        'client_id_uuid_safe',
        's',
        'strict',
        choices=('strict', 'off'),
    ),
    # No built-in key: the constant of the reference counts as unset.
    _secret('transport', 'message_encryption_key'),
    _secret('transport', 'message_encryption_keys', []),
]

_LISTENERS = [
    *_rows(
        'drivers:transport:wsgi',
        ('bind', 'h', '127.0.0.1'),
        ('port', 'p', 8888),
        ('workers', 'i', 0, 0),
        ('threads', 'i', 8, 1),
        ('backlog', 'i', 1024, 1),
        ('max_connections', 'i', 10000, 1),
        ('header_timeout', 'f', 30),
        ('body_timeout', 'f', 30),
        ('body_min_rate', 'i', 500, 0),
        ('enable_v1_1', 'b', True),
        ('max_waiting', 'i', None, 0),
        ('write_timeout', 'i', 60, 1),
    ),
    *_rows(
        'drivers:transport:websocket',
        ('bind', 'h', '127.0.0.1'),
        ('port', 'p', 9000),
        ('external_port', 'p', None),
        ('http_prefix', 's', ''),
        ('notification_bind', 'h', ANY),
        ('notification_port', 'p', 0),
        ('max_connections', 'i', 10000, 0),
        ('max_frame_size', 'i', 0, 0),
        ('max_small_frames', 'i', 100, 0),
        ('write_timeout', 'i', 60, 0),
        ('max_unsent', 'i', 32 * 1024 * 1024, 0),
        ('max_unsent_per_project', 'i', 64 * 1024 * 1024, 0),
        ('max_unacknowledged', 'i', 1000, 500),
        ('max_stream_age', 'i', 3600, 1),
        ('worker_threads', 'i', 16, 1),
        ('loop_requests', 'i', 32, 0),
        ('ping_interval', 'f', 30),
        ('ping_timeout', 'f', 60),
        ('max_unauthenticated_per_peer', 'i', 100),
        ('trusted_proxies', 'l', []),
        ('authentication_timeout', 'i', 30, 0),
        ('node_id', 's', None),
    ),
    *_rows(
        'console',
        ('enabled', 'b', True),
        ('identity_url', 's', None),
        ('websocket_url', 's', None),
    ),
    *_rows(
        'drivers:transport:sqs',
        ('enabled', 'b', False),
        ('secret_cache_duration', 'i', 60, 0),
    ),
]

_NOTIFICATION = [
    *_rows(
        'notification',
        ('smtp_host', 'h', None),
        ('smtp_port', 'p', None),
        ('smtp_user_name', 's', None),
        ('smtp_command', 's', '/usr/sbin/sendmail -t -oi'),
        ('max_notifier_workers', 'i', 10, 1),
        ('require_confirmation', 'b', False),
        ('confirm_mail', 'b', True),
        ('mail_from', 's', ANY),
        ('allow_mail_from', 'b', False),
        ('external_confirmation_url', 's', None),
        ('subscription_confirmation_email_template', 'd', ANY),
        ('unsubscribe_confirmation_email_template', 'd', ANY),
        ('embedded', 'b', True),
        ('request_timeout', 'f', 15),
        ('connect_timeout', 'f', 5),
        ('max_in_flight_per_host', 'i', 64, 1),
        ('max_outbox_per_project', 'i', 100000),
        ('max_attempts_recorded', 'i', 100, 0),
        ('attempts_lifetime', 'i', 604800, 60),
        ('allowed_networks', 'l', []),
        ('allowed_ports', 'l', ['80', '443', '1024-65535']),
        ('trust_targets', 'l', []),
        ('trust_allow_http', 'b', False),
        ('encrypted_over_http', 'b', False),
        ('max_rendered_size', 'i', 2**20, 1024),
    ),
    Row(
        'notification',
        'smtp_mode',
        's',
        'third_part',
        choices=('third_part', 'self_local'),
    ),
    _secret('notification', 'smtp_user_password'),
    _secret('notification', 'signing_secret'),
    _secret('notification', 'socket_secret'),
    Row(
        'storage',
        'message_pipeline',
        'l',
        ['zaqar.notification.notifier'],
    ),
    *_rows(
        'storage',
        ('queue_pipeline', 'l', []),
        ('claim_pipeline', 'l', []),
        ('subscription_pipeline', 'l', []),
        ('topic_pipeline', 'l', []),
    ),
]


def _plane(driver: str, plane: str) -> list[Row]:
    """Return the rows of a driver's group that both planes have."""
    group = f'drivers:{plane}:{driver}'
    tls = [('ssl_keyfile', 's', None), ('ssl_certfile', 's', None)]
    rows = {
        'sqlalchemy': [],
        'redis': [
            ('max_reconnect_attempts', 'i', 10),
            ('reconnect_sleep', 'f', 1.0),
            *tls,
        ],
        'mongodb': [
            ('database', 's', 'zaqar'),
            *tls,
            ('ssl_ca_certs', 's', None),
            ('ssl_cert_reqs', 's', 'CERT_REQUIRED'),
            ('max_attempts', 'i', 1000, 0),
            ('max_retry_sleep', 'f', 0.1),
            ('max_retry_jitter', 'f', 0.005),
            ('max_reconnect_attempts', 'i', 10),
            ('reconnect_sleep', 'f', 0.02),
        ],
    }[driver]
    uri = 'redis://127.0.0.1:6379' if driver == 'redis' else None
    return [_secret(group, 'uri', uri), *_rows(group, *rows)]


_DRIVERS = [
    *(
        row
        for driver in ('sqlalchemy', 'redis', 'mongodb')
        for plane in ('message_store', 'management_store')
        for row in _plane(driver, plane)
    ),
    Row('drivers:message_store:mongodb', 'partitions', 'i', 2),
    *_rows(
        'drivers:message_store:redis',
        ('wait_replicas', 'i', 0, 0),
        ('wait_timeout', 'f', 1),
        ('connect_timeout', 'f', 1),
    ),
    *_rows(
        'drivers:message_store:sqlalchemy',
        ('group_commit_window_ms', 'i', 5, 0),
        ('sql_pooler', 's', 'auto'),
        ('sqlite_synchronous', 's', 'FULL'),
    ),
    Row('drivers:management_store:sqlalchemy', 'sql_pooler', 's', 'auto'),
    _secret('drivers:message_store:swift', 'uri'),
    *_rows(
        'drivers:message_store:swift',
        ('auth_url', 's', 'http://127.0.0.1:5000/v3/'),
        ('insecure', 'b', False),
        ('project_domain_id', 's', None),
        ('project_domain_name', 's', 'Default'),
        ('user_domain_id', 's', None),
        ('user_domain_name', 's', 'Default'),
        ('region_name', 's', None),
        ('interface', 's', 'public'),
    ),
]

TABLE = [*_GENERAL, *_TRANSPORT, *_LISTENERS, *_NOTIFICATION, *_DRIVERS]

DECLARED: dict[str, dict[str, cfg.Opt]] = {}
for _group, _options in opts.list_opts():
    DECLARED.setdefault(_group, {}).update({o.dest: o for o in _options})


def _declared(row: Row) -> cfg.Opt:
    if row.group not in DECLARED:
        # A driver or a transport that is not installed has no options.
        pytest.skip(f'[{row.group}] is of a part that is not here')
    assert row.name in DECLARED[row.group], f'{row} is not declared'
    return DECLARED[row.group][row.name]


@pytest.mark.proves('secret options')
@pytest.mark.parametrize('row', TABLE, ids=str)
def test_an_option_is_as_deployments_know_it(row: Row) -> None:
    option = _declared(row)
    assert isinstance(option, _TYPES[row.kind])
    if row.default is not ANY:
        assert option.default == row.default
    assert option.secret == row.secret
    assert [old.name for old in option.deprecated_opts] == (
        [row.old] if row.old else []
    )
    if row.choices:
        assert set(option.type.choices) == set(row.choices)


@pytest.mark.parametrize(
    'row', [row for row in TABLE if row.least is not None], ids=str
)
def test_a_value_below_the_least_is_refused(row: Row) -> None:
    option = _declared(row)
    assert row.least is not None
    assert option.type(str(row.least)) == row.least
    with pytest.raises(ValueError):
        option.type(str(row.least - 1))


@pytest.mark.parametrize(
    'group', sorted({row.group for row in _GENERAL + _TRANSPORT})
)
def test_the_table_has_every_option_of_the_service_itself(group: str) -> None:
    names = {row.name for row in TABLE if row.group == group}
    assert set(DECLARED[group]) == names


def test_options_are_spelled_with_underscores() -> None:
    for group in DECLARED.values():
        assert not [o.name for o in group.values() if '-' in o.name]


@pytest.mark.proves('secret options')
def test_passwords_and_keys_are_secret() -> None:
    words = ('password', 'secret', 'key', 'keys', 'uri')
    harmless = {'ssl_keyfile', 'secret_cache_duration'}
    for name, group in DECLARED.items():
        for option in group.values():
            if set(option.dest.split('_')) & set(words):
                assert option.secret or option.dest in harmless, (
                    f'{name}.{option.dest}'
                )
    assert all(
        option.secret
        for option in osprofiler_tracing.LIBRARY_OPTS
        if option.dest != 'enabled'
    )
