# SPDX-License-Identifier: Apache-2.0
"""``zaqar-gc``: remove expired messages and claims."""

import contextlib
import functools
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from oslo_config import cfg
from oslo_log import log

from zaqar import config_loading
from zaqar.api import optional_features
from zaqar.cmd import command_line_help
from zaqar.errors import ConfigurationError, StoreUnavailable, one_line
from zaqar.expired_data_sweeper import PAUSE, Pace
from zaqar.pools import registered_and_virtual_pools
from zaqar.storage import store_opener
from zaqar.storage.abstract_stores import MessageStore

LOG = log.getLogger(__name__)

PROG = 'zaqar-gc'

MANUAL = f"""\
NAME
    {PROG} - remove expired messages and claims from the stores

SYNOPSIS
    {PROG} [OPTION]...

DESCRIPTION
    Sweeps the message store and, with [DEFAULT] pooling, every pool: removes
    expired messages and claims, and the remains of purged and deleted queues.
    They are invisible to clients; sweeping frees their space.

    zaqar-server does the same in the background, every [gc] interval seconds
    unless that is 0. Run this program from cron or a timer instead, or once
    after many messages have expired.

    It works in batches of [gc] batch rows with a pause between them, and may
    run beside the service and other sweepers: a store admits one at a time,
    and the others do nothing. SIGTERM and SIGINT (Ctrl-C) end it after the
    current batch.

    Prints the number of removed rows of each store, and logs it if a log is
    configured.

OPTIONS
    --once              sweep until nothing is left, then exit; the default,
                        and overrides --every
    --every SECONDS     sweep every so many seconds, until stopped
    --dry-run           check that the stores respond, and remove nothing
    --pool NAME         sweep this pool only; may be given several times

{command_line_help.manual_of_files(PROG)}
EXIT STATUS
    0    done, or stopped by a signal
    1    a store does not respond, or the configuration is invalid; stores
         that respond have been swept
    2    wrong usage

EXAMPLES
    {PROG}
    {PROG} --every 300 --log-file /var/log/zaqar/gc.log
    {PROG} --config-file /etc/zaqar/zaqar.conf --pool east --pool west

"""

CLI_OPTS = [
    cfg.BoolOpt(
        'once',
        default=False,
        help='Sweep until nothing is left, then end; the default.',
    ),
    cfg.IntOpt(
        'every',
        min=1,
        metavar='SECONDS',
        help='Begin again every so many seconds, until stopped.',
    ),
    cfg.BoolOpt(
        'dry-run',
        default=False,
        help='See whether the stores answer and remove nothing.',
    ),
    cfg.MultiStrOpt(
        'pool',
        default=[],
        metavar='NAME',
        help='Sweep this pool only; may be given several times.',
    ),
]

#: What the store that the configuration names is called in the output.
MESSAGE_STORE = 'message store'

#: Opens a store of messages.
Opener = Callable[[], MessageStore]


def main(arguments: Sequence[str] | None = None) -> int:
    words = command_line_help.read_words(arguments, MANUAL)
    try:
        conf = config_loading.load(
            PROG, words, lambda conf: conf.register_cli_opts(CLI_OPTS)
        )
        with contextlib.closing(StoreSelection(conf)) as stores:
            return Collector(conf, stores.chosen).run()
    except (ConfigurationError, StoreUnavailable, cfg.Error) as error:
        print(f'{PROG}: {_reason(error)}', file=sys.stderr)
        return 1


class StoreSelection:
    """The stores to sweep."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        is_pooled = 'pooling' in optional_features.from_conf(conf)
        if conf.pool and not is_pooled:
            raise ConfigurationError(
                '--pool: [DEFAULT] pooling is off, hence there are no pools'
            )
        self._conf = conf
        self._stores = store_opener.open_stores(conf)
        self._pools: registered_and_virtual_pools.Pools | None = None
        if is_pooled:
            self._pools = registered_and_virtual_pools.Pools(
                self._stores.management,
                store_opener.PoolOpener(conf),
                self._stores.messages,
                use_virtual=True,
            )

    def chosen(self) -> Mapping[str, Opener]:
        """Return the stores to sweep by their names."""
        messages = {MESSAGE_STORE: lambda: self._stores.messages}
        if self._pools is None:
            return messages
        names = [pool.name for pool in self._pools.records.all()]
        for name in self._conf.pool:
            if name not in names:
                raise ConfigurationError(f'--pool: there is no pool "{name}"')
        pools = {
            f'pool {name}': functools.partial(self._pools.store, name)
            for name in names
            if name in self._conf.pool or not self._conf.pool
        }
        return pools if self._conf.pool else {**messages, **pools}

    def close(self) -> None:
        if self._pools is not None:
            self._pools.close()
        self._stores.messages.close()
        self._stores.management.close()


class Collector:
    """Sweeps stores until nothing is left, once or regularly.

    :param choose: returns the stores; asked before each round
    """

    def __init__(
        self, conf: cfg.ConfigOpts, choose: Callable[[], Mapping[str, Opener]]
    ) -> None:
        self._batch = Pace.from_conf(conf).batch
        self._every = None if conf.once else conf.every
        self._is_dry = conf.dry_run
        self._has_log = bool(
            conf.log_file
            or conf.log_dir
            or conf.log_config_append
            or conf.use_syslog
            or conf.use_journal
        )
        self._choose = choose
        self._ended = threading.Event()

    def run(self) -> int:
        """Sweep until done or stopped; return the exit code.

        :raises StoreUnavailable: as ``choose``, where one round is asked for
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ended.set())
        if self._every is None:
            return self._round()
        while not self._ended.is_set():
            try:
                self._round()
            except StoreUnavailable as error:
                # The store may respond in the next round.
                LOG.error('This round failed: %s', _reason(error))
            self._ended.wait(self._every)
        return 0

    def _round(self) -> int:
        """Sweep all stores; return 1 if one could not be swept."""
        code = 0
        for name, opened in self._choose().items():
            if self._ended.is_set():
                break
            try:
                result = self._sweep(name, opened())
            except StoreUnavailable:
                result, code = 'does not answer, not swept', 1
            self._tell(f'{name}: {result}')
        return code

    def _tell(self, text: str) -> None:
        print(text, flush=True)
        # Otherwise standard error would have it twice.
        if self._has_log:
            LOG.info(text)

    def _sweep(self, name: str, store: MessageStore) -> str:
        """Sweep a store; return its line of output."""
        store.ping()
        if self._is_dry:
            return 'answers'
        total = 0
        while not self._ended.is_set():
            now = store.clock.server_now()
            removed = store.sweep(now=now, batch=self._batch)
            total += removed
            if removed < self._batch:
                break
            _show(f'{name}: {total} rows removed so far')
            self._ended.wait(PAUSE)
        return f'{total} rows removed'


def _show(text: str) -> None:
    """Show the progress on a terminal."""
    if sys.stderr.isatty():
        print(f'\r{text}\r', end='', file=sys.stderr, flush=True)
    else:
        LOG.debug(text)


def _reason(error: Any) -> str:
    if isinstance(error, StoreUnavailable):
        return 'the management store does not answer'
    return one_line(error)


if __name__ == '__main__':
    sys.exit(main())
