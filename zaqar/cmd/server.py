# SPDX-License-Identifier: Apache-2.0
"""``zaqar-server``: the whole service, in the foreground."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from oslo_config import cfg
from oslo_log import log

from zaqar import service, version
from zaqar.api import modes
from zaqar.cmd.supervisor import Child, Supervisor
from zaqar.errors import ConfigurationError
from zaqar.transport.wsgi import server

LOG = log.getLogger(__name__)

PROG = 'zaqar-server'

CLI_OPTS = [
    modes.ADMIN_MODE,
    cfg.BoolOpt(
        'daemon',
        default=False,
        help='Go to the background once the settings have proved good.',
    ),
]

DRIVERS_OPTS = [
    cfg.StrOpt(
        'transport',
        choices=[('wsgi', 'HTTP'), ('websocket', 'WebSocket')],
        help='What zaqar-server serves. Unset: everything there is.',
    ),
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        conf = service.configuration(PROG, words, _prepare)
        return _run(conf, words)
    except (ConfigurationError, cfg.Error) as error:
        # Values out of their range show when they are first read.
        print(f'{PROG}: {error}', file=sys.stderr)
        LOG.debug('Not started', exc_info=True)
        return 1


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Make all options of this program known."""
    conf.register_cli_opts(CLI_OPTS)
    conf.register_opts(DRIVERS_OPTS, 'drivers')
    conf.register_opts(server.OPTS, server.GROUP)


def _prepare(conf: cfg.ConfigOpts) -> None:
    register_opts(conf)


def _run(conf: cfg.ConfigOpts, words: Sequence[str]) -> int:
    if conf.drivers.transport == 'websocket':
        raise ConfigurationError(
            '[drivers] transport = websocket: this version serves HTTP only; '
            'remove the option or set it to wsgi'
        )
    _rehearse(conf)
    settings = conf[server.GROUP]
    listener = server.listen(settings.bind, settings.port, settings.backlog)
    if conf.daemon:
        _daemonize()
    host, port = listener.getsockname()[:2]
    LOG.info(
        'zaqar-server %s listens on %s:%d',
        version.version_string(),
        host,
        port,
    )
    service.warn_if_open(conf)
    return Supervisor(_children(conf, words, listener)).run()


def _children(
    conf: cfg.ConfigOpts, words: Sequence[str], listener: socket.socket
) -> Sequence[Child]:
    count = conf[server.GROUP].workers or os.cpu_count() or 1
    return [
        Child(f'API worker {number}', lambda: _work(words, listener))
        for number in range(1, count + 1)
    ]


def _work(words: Sequence[str], listener: socket.socket) -> None:
    """Be an API worker, with the configuration as it is now."""
    try:
        conf = service.configuration(PROG, words, _prepare)
        running = service.Service(conf)
        application = running.application()
    except ConfigurationError as error:
        LOG.error('%s', error)
        raise SystemExit(1) from None
    running.start()
    settings = conf[server.GROUP]
    server.serve(
        listener,
        application,
        threads=settings.threads,
        backlog=settings.backlog,
    )
    running.close()


def _rehearse(conf: cfg.ConfigOpts) -> None:
    """Build everything once, in a process of its own, to see that it works.

    The parent never opens a store: what it opened, children would share.

    :raises SystemExit: it does not; the reason has been told
    """
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        os._exit(_rehearsal(conf))
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise SystemExit(1)


def _rehearsal(conf: cfg.ConfigOpts) -> int:
    try:
        rehearsed = service.Service(conf)
        rehearsed.application()
        rehearsed.close()
    except ConfigurationError as error:
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
