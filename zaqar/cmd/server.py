# SPDX-License-Identifier: Apache-2.0
"""``zaqar-server``: the service, or one transport of it with the notifier."""

import contextlib
import functools
import gc
import importlib
import mmap
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from oslo_config import cfg
from oslo_log import log

from zaqar import (
    config_loading,
    log_writer_thread,
    metrics,
    service_assembly,
    startup_log,
    version,
)
from zaqar.api import optional_features
from zaqar.cmd import command_line_help, cpu_priority, notifier
from zaqar.cmd.supervisor import Child, Ready, Supervisor
from zaqar.cmd.warm_up import warm_up
from zaqar.errors import ConfigurationError
from zaqar.state_path import state_path
from zaqar.storage.configured_drivers_and_options import choices
from zaqar.transport import listening_socket
from zaqar.transport.websocket import settings as websocket
from zaqar.transport.wsgi.server import http_server

LOG = log.getLogger(__name__)

T = TypeVar('T')

#: Bytes of a number that processes share.
_COUNT = 4

PROG = 'zaqar-server'

MANUAL = f"""\
NAME
    {PROG} - the messaging service

SYNOPSIS
    {PROG} [OPTION]...

DESCRIPTION
    Serves HTTP (as many API workers as there are cores) and WebSockets, and
    delivers notifications, each in processes of its own; one supervisor
    restarts those that die. With [drivers] transport = wsgi or websocket it
    runs only that transport and the notifier.

    Without a configuration it listens on 127.0.0.1, ports 8888 and 9000,
    stores everything in an SQLite file in [DEFAULT] state_path, and trusts
    everyone who reaches it.

OPTIONS
    --admin_mode        also serve health, pools and flavors
    --daemon            go to the background after the configuration was
                        checked

SIGNALS
    SIGTERM, SIGINT     accept no more requests, finish those in progress, exit
    SIGHUP              reload the configuration; processes are replaced one
                        after another, each when its successor is ready
    SIGUSR2             print a report of each process on standard error

{command_line_help.manual_of_files(PROG)}
EXIT STATUS
    0    stopped by a signal
    1    the configuration is invalid; one line on standard error says why. An
         unreachable database is not an error: the service starts and retries
    2    wrong usage

"""

CLI_OPTS = [
    optional_features.ADMIN_MODE,
    cfg.BoolOpt(
        'daemon',
        default=False,
        help='Go to the background after the configuration was checked.',
    ),
]

DRIVERS_OPTS = [
    cfg.StrOpt(
        'transport',
        choices=[('wsgi', 'HTTP'), ('websocket', 'WebSocket')],
        help='The transport that zaqar-server runs. Unset: both, each in '
        'processes of its own.',
    ),
]

#: What decides which processes there are, by group.
GROUPS: Mapping[str, Sequence[cfg.Opt]] = {
    'drivers': DRIVERS_OPTS,
    http_server.GROUP: http_server.OPTS,
    metrics.GROUP: metrics.OPTS,
    websocket.GROUP: websocket.OPTS,
}


def main(arguments: Sequence[str] | None = None) -> int:
    words = command_line_help.read_words(arguments, MANUAL)
    try:
        conf = config_loading.load(PROG, words, register_opts)
        return _run(conf, words)
    except (ConfigurationError, cfg.Error) as error:
        # Values out of their range show when they are first read.
        print(f'{PROG}: {error}', file=sys.stderr)
        LOG.debug('Not started', exc_info=True)
        return 1


def register_opts(conf: cfg.ConfigOpts) -> None:
    conf.register_cli_opts(CLI_OPTS)
    for group, options in GROUPS.items():
        conf.register_opts(options, group)
    notifier.register_opts(conf)


def _run(conf: cfg.ConfigOpts, words: Sequence[str]) -> int:
    _rehearse(conf)
    children = _children(conf, words)
    if conf.daemon:
        _daemonize()
    return Supervisor(children).run()


def _serves(conf: cfg.ConfigOpts, transport: str) -> bool:
    return conf.drivers.transport in (None, transport)


def _children(conf: cfg.ConfigOpts, words: Sequence[str]) -> Sequence[Child]:
    """Return what is to run; listen before anything does."""
    children: list[Child] = []
    if _serves(conf, 'wsgi'):
        children += _api_workers(conf, words)
    if _serves(conf, 'websocket'):
        children.append(_websocket_server(conf, words))
    if notifier.is_embedded(conf):
        children.append(Child('notifier', lambda ready: _notify(words, ready)))
    if conf[metrics.GROUP].port:
        children.append(_metrics_server(conf))
    return children


def _api_workers(
    conf: cfg.ConfigOpts, words: Sequence[str]
) -> Sequence[Child]:
    settings = conf[http_server.GROUP]
    listener = _listen(conf, http_server.GROUP, settings.backlog, 'HTTP')
    count = settings.workers or os.cpu_count() or 1
    # Each worker takes its share of the connections.
    counts = memoryview(mmap.mmap(-1, count * _COUNT)).cast('i')
    return [
        Child(
            f'API worker {number + 1}',
            functools.partial(_work, words, listener, counts, number),
            listener,
            retire=signal.SIGHUP,
        )
        for number in range(count)
    ]


def _websocket_server(conf: cfg.ConfigOpts, words: Sequence[str]) -> Child:
    backlog = websocket.BACKLOG
    listener = _listen(conf, websocket.GROUP, backlog, 'WebSocket')
    return Child(
        'WebSocket server',
        lambda ready: _talk(words, listener, ready),
        listener,
    )


def _metrics_server(conf: cfg.ConfigOpts) -> Child:
    # It imports prometheus_client, which nothing does while this is off.
    from zaqar import metrics_endpoint

    backlog = metrics_endpoint.BACKLOG
    listener = _listen(conf, metrics.GROUP, backlog, 'metrics')
    folder = metrics.shared(state_path(conf))
    metrics_endpoint.forget_the_dead(folder, '')

    def work(ready: Ready) -> None:
        _take_over(ready)
        metrics_endpoint.serve(listener, folder)

    return Child('metrics', work)


def _listen(
    conf: cfg.ConfigOpts, group: str, backlog: int, what: str
) -> socket.socket:
    """Return a socket that listens where the options of a group say."""
    settings = conf[group]
    listener = listening_socket.listen(
        settings.bind, settings.port, backlog, group
    )
    host, port = listener.getsockname()[:2]
    release = version.version_string()
    LOG.info('%s %s listens on %s:%d for %s', PROG, release, host, port, what)
    return listener


@contextlib.contextmanager
def _running(
    words: Sequence[str], part: Callable[[service_assembly.Service], T]
) -> Iterator[tuple[service_assembly.Service, T]]:
    """Run the service, by the configuration as it is now, and its part."""
    try:
        conf = config_loading.load(PROG, words, register_opts)
        log_writer_thread.start()
        service = service_assembly.Service(conf)
        parts = service, part(service)
    except ConfigurationError as error:
        LOG.error('%s', error)
        raise SystemExit(1) from None
    yield parts
    # Another process serves by now, and needs the processor. Not for good: it
    # would wait for what this one has locked in a store.
    cpu_priority.lower()
    service.close()


def _take_over(ready: Ready) -> None:
    """Have the predecessor, if any, end: this process is like it now."""
    cpu_priority.restore()
    ready()


def _talk(words: Sequence[str], listener: socket.socket, ready: Ready) -> None:
    """Be the WebSocket server."""
    with _running(words, service_assembly.Service.websocket) as (
        service,
        server,
    ):
        service.start()
        service.report_when_asked(WebSocket=server.facts)
        service.metrics.sample('streams', lambda: server.facts()['streams'])
        ready()
        # What is written at a low priority would hold a lock for longer.
        server.serve(listener, cpu_priority.restore)


def _notify(words: Sequence[str], ready: Ready) -> None:
    """Be the notifier."""
    with _running(words, service_assembly.Service.notifier) as (
        service,
        notifying,
    ):
        service.report_when_asked(Notifications=notifying.facts)
        _take_over(ready)
        notifier.run(notifying, is_child=True)


def _work(
    words: Sequence[str],
    listener: socket.socket,
    counts: memoryview,
    number: int,
    ready: Ready,
) -> None:
    """Be an API worker."""
    with _running(words, service_assembly.Service.application) as (
        service,
        application,
    ):
        service.start()
        service.report_when_asked()
        warm_up(service, application)
        http_server.serve(
            listener,
            application,
            service.conf[http_server.GROUP],
            service.longest_body,
            lambda: _take_over(ready),
            service.waited.waiters.close,
            counts,
            number,
            waits_in_greenlets=service.waits_in_greenlets,
        )


def _rehearse(conf: cfg.ConfigOpts) -> None:
    """Build everything once, in a process of its own, to see that it works.

    The parent never opens a store: what it opened, children would share. It
    imports the modules that were needed, so that children start fast.

    :raises SystemExit: it does not; the reason is on standard error
    """
    sys.stdout.flush()
    _import(_needed(conf))
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os._exit(_rehearsal(conf, writing))
    os.close(writing)
    with open(reading) as names:
        loaded = names.read().splitlines()
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(1)
    _import(loaded)
    # Never collected again, hence never copied into the children.
    gc.collect()
    gc.freeze()


def _needed(conf: cfg.ConfigOpts) -> Iterator[str]:
    """Yield modules that are needed for sure; else they are loaded twice."""
    if _serves(conf, 'websocket'):
        yield 'zaqar.transport.websocket.server'
    if notifier.is_embedded(conf):
        yield 'zaqar.notification.notifier_service'
    # The rehearsal tells what is wrong.
    with contextlib.suppress(ConfigurationError, cfg.Error):
        for choice in choices(conf):
            yield f'zaqar.storage.{choice.driver}.store_factory'


def _import(names: Iterable[str]) -> None:
    for name in names:
        # Some are attributes of others and cannot be imported; whatever else
        # a library's module raises costs only time, in the children.
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _rehearsal(conf: cfg.ConfigOpts, names: int) -> int:
    """Return the exit code; write the names of imported modules."""
    before = set(sys.modules)
    try:
        rehearsed = service_assembly.Service(conf)
        if _serves(conf, 'wsgi'):
            rehearsed.application()
        if _serves(conf, 'websocket'):
            rehearsed.websocket()
        if notifier.is_embedded(conf):
            rehearsed.notifier()
        rehearsed.report_when_asked()
        rehearsed.close()
        with open(names, 'w') as file:
            file.writelines(
                f'{name}\n' for name in sys.modules if name not in before
            )
        # Here, since it loads libraries that no process needs.
        startup_log.announce(conf, PROG)
    except (ConfigurationError, cfg.Error) as error:
        # Values out of their range show when they are first read.
        print(f'{PROG}: {error}', file=sys.stderr, flush=True)
        return 1
    except BaseException as error:
        # The edge of a process: one line here, all of it in the log.
        LOG.exception('The service cannot be built')
        print(f'{PROG}: {error}', file=sys.stderr, flush=True)
        return 1
    return 0


def _daemonize() -> None:
    """Go on as a process that no terminal knows; the others end with 0."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir('/')
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


if __name__ == '__main__':
    sys.exit(main())
