# SPDX-License-Identifier: Apache-2.0
"""Settings of the WebSocket server."""

import os
import re
import socket
from dataclasses import dataclass

from oslo_config import cfg
from oslo_middleware import cors

from zaqar import options_as_dataclass_fields
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.errors import ConfigurationError
from zaqar.options_as_dataclass_fields import Network, networks, option
from zaqar.transport.websocket.recent_stream_events import MOST_TOGETHER

GROUP = 'drivers:transport:websocket'

_NODE = re.compile(r'[A-Za-z0-9._-]{1,100}')
_UNFIT = re.compile(r'[^A-Za-z0-9._-]')

#: Bytes of a frame beside what is limited elsewhere.
_ROOM = 64 * 1024


@dataclass(frozen=True)
@options_as_dataclass_fields.of(GROUP)
class Settings:
    """The options, by their names.

    :ivar origins: of pages that may connect, as configured
    """

    bind: str = option(
        '127.0.0.1',
        'Address on which zaqar-server listens for WebSocket clients.',
        kind=cfg.HostAddressOpt,
    )
    port: int = option(
        9000,
        'Port on which zaqar-server listens for WebSocket clients.',
        kind=cfg.PortOpt,
    )
    external_port: int | None = option(
        None,
        'Port that clients connect to, behind a proxy. If set, the Host '
        'header of a handshake must name it (80 if it names none), otherwise '
        'the handshake fails; if unset, it is not checked.',
        kind=cfg.PortOpt,
    )
    http_prefix: str = option(
        '',
        'Path under which the HTTP API is mounted, such as /messaging. '
        'Actions are matched against the access rules of application '
        'credentials as the equivalent HTTP requests, with this prefix in '
        'front of their paths.',
    )
    notification_bind: str = option(
        '127.0.0.1',
        'Address on which notifiers hand over messages for subscribed '
        'connections. The default serves one machine; if zaqar-notifier runs '
        'elsewhere, set an address that it can reach. Each message there is '
        'authenticated by a signature.',
        kind=cfg.HostAddressOpt,
    )
    notification_port: int = option(
        0,
        'Port of notification_bind. 0 means any free port.',
        kind=cfg.PortOpt,
        min=0,
    )
    max_connections: int = option(
        10000,
        'Maximum number of connections; more are refused with 503. 0 means no '
        'limit but that of open files.',
        min=0,
    )
    max_unauthenticated_per_peer: int = option(
        100,
        'Maximum number of connections from one address that have not '
        'authenticated, if auth_strategy is set; more are refused with 429. 0 '
        'means no limit. See trusted_proxies.',
        min=0,
    )
    trusted_proxies: tuple[Network, ...] = option(
        [],
        'Addresses and networks, such as 10.0.0.0/8, of proxies in front of '
        'this server. Their X-Forwarded-For and Forwarded headers are '
        'trusted, read from right to left up to the first address that is not '
        'listed here. If unset behind a proxy, all its clients count as one '
        'address.',
        read=networks,
    )
    authentication_timeout: int = option(
        30,
        'Seconds within which a connection must authenticate, or send a frame '
        'with a valid signature, if auth_strategy is set; after that it is '
        'closed with 1008. 0 means no limit.',
        min=0,
    )
    ping_interval: int = option(
        30,
        'Seconds between two pings of a connection. 0 sends none; connections '
        'whose client has vanished then stay open.',
        min=0,
    )
    ping_timeout: int = option(
        60,
        'Seconds without any data from the client, while pings are sent, '
        'after which a connection is closed. 0 means never.',
        min=0,
    )
    max_frame_size: int = option(
        0,
        'Maximum size in bytes of a frame or message; a longer one closes the '
        'connection with 1009. 0 means twice the larger of '
        'max_messages_post_size and max_queue_metadata, plus 64 KiB.',
        min=0,
    )
    max_small_frames: int = option(
        100,
        'Maximum number of control frames, and fragments of less than 1 KiB, '
        'per second and connection; more close it with 1008. 0 means no '
        'limit.',
        min=0,
    )
    write_timeout: int = option(
        60,
        'Seconds after which a connection is closed whose client reads '
        'nothing, or too little, of what waits for it. 0 means no limit.',
        min=0,
    )
    max_unsent: int = option(
        32 * 1024 * 1024,
        'Maximum number of bytes that may wait for the client of a '
        'connection; more close it. Must be larger than the largest answer: '
        'max_messages_per_page messages of max_messages_post_size. 0 means no '
        'limit.',
        min=0,
    )
    max_unsent_per_project: int = option(
        64 * 1024 * 1024,
        'Maximum number of bytes that may wait for all clients of a project '
        'that do not read; beyond it the connection with most of them is '
        'closed. 0 means no limit.',
        min=0,
    )
    max_unacknowledged: int = option(
        1000,
        'Maximum number of frames of streams that may wait for the client of '
        'a connection. The server reads no further messages for its streams '
        'until the client reads.',
        min=MOST_TOGETHER,
    )
    max_stream_age: int = option(
        3600,
        'Seconds after which a stream over HTTP ends; its client reconnects '
        'and misses nothing. It also ends when the credentials it was '
        'requested with expire.',
        min=1,
    )
    worker_threads: int = option(
        16,
        'Number of threads that process requests, which is the number of '
        'requests of all connections that are processed concurrently, besides '
        'loop_requests.',
        min=1,
    )
    loop_requests: int = option(
        32,
        'Requests that the event loop of the server processes concurrently, '
        'without a thread; see the option of this name for HTTP. 0 leaves all '
        'requests to threads.',
        min=0,
    )
    node_id: str = option(
        None,
        'Name of this server among others of the service: letters, digits, '
        '".", "_" and "-". Unset: the host name and the process id.',
        read=lambda name: name or '',
        sample_default='<host name>-<process>',
    )
    origins: tuple[str, ...] = ()

    @property
    def max_missed(self) -> int:
        """Return the pings that may stay unanswered, 0 for any number."""
        if not (self.ping_interval and self.ping_timeout):
            return 0
        return max(1, self.ping_timeout // self.ping_interval)


#: Connections that may wait to be accepted.
BACKLOG = 1024

OPTS = options_as_dataclass_fields.options(Settings)[GROUP]


def from_conf(conf: cfg.ConfigOpts, limits: Limits) -> Settings:
    values = options_as_dataclass_fields.values(Settings, conf)
    values['node_id'] = _node_id(values['node_id'])
    largest = max(limits.max_messages_post_size, limits.max_queue_metadata)
    values['max_frame_size'] = values['max_frame_size'] or 2 * largest + _ROOM
    return Settings(**values, origins=_origins(conf))


def _node_id(name: str | None) -> str:
    if not name:
        host = _UNFIT.sub('-', socket.gethostname())[:80]
        return f'{host}-{os.getpid()}'
    if not _NODE.fullmatch(name):
        raise ConfigurationError(
            f'[{GROUP}] node_id = {name}: must be letters, digits, ".", "_" '
            'and "-"'
        )
    return name


def _origins(conf: cfg.ConfigOpts) -> tuple[str, ...]:
    conf.register_opts(cors.CORS_OPTS, 'cors')
    return tuple(conf.cors.allowed_origin or ())
