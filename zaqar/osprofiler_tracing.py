# SPDX-License-Identifier: Apache-2.0
"""Tracing by osprofiler: how long the parts of a request take.

Only requests whose ``X-Trace-Info`` is signed with a key of ours are traced:
over HTTP by their headers, over a WebSocket by those in the frame.
Off, no back end of osprofiler is loaded. On, what fails in a trace never fails
the request. No body, token or argument is part of a trace.

osprofiler has one back end for a process; of two services in one process the
later one says which.
"""

from __future__ import annotations

import functools
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from oslo_config import cfg

from zaqar.errors import one_line
from zaqar.storage import secret_masking, store_call_interceptor
from zaqar.storage.store_call_interceptor import Store

LOG = logging.getLogger(__name__)

GROUP = 'profiler'

#: Options of ours beside those of osprofiler.
OPTS = [
    cfg.BoolOpt(
        'trace_wsgi_transport',
        default=False,
        help='Whether traces show the time of whole HTTP requests. Counts '
        'where profiling is enabled.',
    ),
    cfg.BoolOpt(
        'trace_websocket_transport',
        default=False,
        help='Whether traces show the time of whole requests over a '
        'WebSocket. Counts where profiling is enabled.',
    ),
    cfg.BoolOpt(
        'trace_message_store',
        default=False,
        help='Whether traces show each call on a store of messages. Counts '
        'where profiling is enabled.',
    ),
    cfg.BoolOpt(
        'trace_management_store',
        default=False,
        help='Whether traces show each call on the store of queues and '
        'everything else but messages. Counts where profiling is enabled.',
    ),
]

#: Options of osprofiler that are looked at before it is loaded; listed by
#: its own namespace. The connection string may hold a password.
LIBRARY_OPTS = [
    cfg.BoolOpt('enabled', default=False, deprecated_name='profiler_enabled'),
    cfg.StrOpt('hmac_keys', default='SECRET_KEY', secret=True),
    cfg.StrOpt('connection_string', default='messaging://', secret=True),
]

#: What the points of whole requests are called, by transport.
_WSGI = 'wsgi'
_WEBSOCKET = 'websocket'

#: Where a request says that it is to be traced, and proves that it may.
_INFO, _PROOF = 'x-trace-info', 'x-trace-hmac'

Result = TypeVar('Result')
Environ = dict[str, Any]
App = Callable[[Environ, Any], Iterable[bytes]]
Notify = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Profiling:
    """The parts of the service that are traced.

    :ivar enabled: whether anything is
    :ivar keys: with which traced requests are signed, commas between
    :ivar planes: stores that are: ``message_store``, ``management_store``
    """

    enabled: bool = False
    keys: str = ''
    planes: frozenset[str] = frozenset()

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Profiling:
        """Read it from a loaded configuration, and open the back end."""
        conf.register_opts([*OPTS, *LIBRARY_OPTS], GROUP)
        settings = conf[GROUP]
        if not settings.enabled:
            return cls()
        if settings.hmac_keys == 'SECRET_KEY':
            LOG.warning(
                '[profiler] hmac_keys has its public default: anyone can have '
                'requests traced. Set it.'
            )
        notify = _opened(conf)
        if notify is None:
            return cls()
        hidden = tuple(
            name
            for name in (_WSGI, _WEBSOCKET)
            if not settings[f'trace_{name}_transport']
        )
        _use(notify, hidden)
        planes = frozenset(
            plane
            for plane in ('message_store', 'management_store')
            if settings[f'trace_{plane}']
        )
        return cls(True, settings.hmac_keys, planes)

    def application(self, app: App) -> App:
        """Return an application that traces requests with a trace header."""
        if not self.enabled:
            return app
        from osprofiler import web

        traced = web.WsgiMiddleware(app, self.keys, enabled=True)

        def call(environ: Environ, start: Any) -> Iterable[bytes]:
            # osprofiler falls over a proof that is not ASCII.
            is_ascii = environ.get('HTTP_X_TRACE_HMAC', '').isascii()
            body: Iterable[bytes] = (traced if is_ascii else app)(
                environ, start
            )
            return body

        return call

    def frame(
        self,
        action: str,
        headers: Mapping[str, Any],
        call: Callable[[], Result],
    ) -> Result:
        """Make a call for a WebSocket frame, traced if it has a trace header.

        :param headers: of the frame, by their names in small letters
        """
        ids = self._ids(headers) if self.enabled else None
        if ids is None:
            return call()
        from osprofiler import profiler

        profiler.init(ids['hmac_key'], ids['base_id'], ids['parent_id'])
        try:
            info = {'request': {'action': action}}
            with profiler.Trace(_WEBSOCKET, info=info):
                return call()
        finally:
            # The thread goes on to frames of others.
            profiler.clean()

    def _ids(self, headers: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the ids of a trace, None without a valid signature."""
        info, proof = headers.get(_INFO), headers.get(_PROOF)
        if not (isinstance(info, str) and isinstance(proof, str)):
            return None
        if not proof.isascii():
            return None
        from osprofiler import _utils

        ids = _utils.signed_unpack(info, proof, _utils.split(self.keys))
        if ids is None or not {'base_id', 'parent_id'} <= set(ids):
            return None
        return ids

    def store(self, store: Store, plane: str, driver: str) -> Store:
        """Return a store whose calls are traced, if those of its plane are."""
        if plane not in self.planes:
            return store
        kind = plane.removesuffix('_store')
        run = functools.partial(_run, f'{driver}_{kind}_controller')
        return store_call_interceptor.through(store, run)


def _run(
    store: str, name: str, call: Callable[..., Any], *args: Any, **more: Any
) -> Any:
    from osprofiler import profiler

    if profiler.get() is None:
        return call(*args, **more)
    name = f'{store}.{name}'
    # What is given are bodies, names and ids: none of the trace's business.
    with profiler.Trace(name, info={'function': {'name': name}}):
        return call(*args, **more)


def _opened(conf: cfg.ConfigOpts) -> Notify | None:
    """Return a function that records points of a trace; log why if None."""
    try:
        from osprofiler import opts
        from osprofiler.drivers import base
    except ImportError as error:
        LOG.warning('Profiling is off: osprofiler cannot be loaded: %s', error)
        return None
    _register(conf, opts.list_opts())
    where = conf[GROUP].connection_string
    try:
        driver = base.get_driver(
            where,
            conf=conf,
            context={},
            project='zaqar',
            service='zaqar',
            host=socket.gethostname(),
        )
        return cast(Notify, driver.notify)
    except Exception as error:
        # Each driver fails in ways of its own.
        reason = secret_masking.scrub(one_line(error), where)
    # Not above, where our log would add what was raised, passwords and all.
    LOG.warning(
        'Profiling is off: the back end "%s" of [profiler] connection_string '
        'cannot be loaded: %s',
        where.partition(':')[0],
        reason,
    )
    return None


def _register(
    conf: cfg.ConfigOpts, groups: Iterable[tuple[str, list[cfg.Opt]]]
) -> None:
    """Register the other options of osprofiler, which its drivers read."""
    ours = {option.dest for option in LIBRARY_OPTS}
    for group, options in groups:
        others = [option for option in options if option.dest not in ours]
        conf.register_opts(others if group == GROUP else options, group)


def _use(notify: Notify, hidden: tuple[str, ...]) -> None:
    """Record the points of traces of this process.

    :param hidden: how the names of those begin that are left out
    """
    from osprofiler import notifier

    def pass_on(point: dict[str, Any]) -> None:
        if str(point.get('name')).startswith(hidden):
            return
        # What an exception says may hold what was asked for.
        info = {**point.get('info', {})}
        info.pop('message', None)
        fault = ''
        try:
            notify({**point, 'info': info})
        except Exception as error:
            # A back end that is down must not take the service with it.
            fault = type(error).__name__
        if fault:
            LOG.warning('A trace is lost: %s', fault)

    notifier.set(pass_on)
