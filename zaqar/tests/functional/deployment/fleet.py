# SPDX-License-Identifier: Apache-2.0
"""Several servers on one store, behind nginx."""

from __future__ import annotations

import pathlib
import signal
from collections.abc import Callable, Iterator

from zaqar.tests.functional.deployment.load import Load
from zaqar.tests.functional.deployment.test_nginx import site
from zaqar.tests.servers.zaqar import Zaqar

_REST = """
[drivers]
transport = wsgi
message_store = {driver}
management_store = {driver}
[drivers:message_store:{driver}]
uri = {uri}
[drivers:management_store:{driver}]
uri = {uri}
"""


class Fleet:
    """Servers that are still to be started.

    :param folder: an empty one
    :param driver: of the store
    :param uri: of the store, which is empty
    """

    def __init__(
        self, folder: pathlib.Path, driver: str, uri: str, count: int = 3
    ) -> None:
        # oslo.config takes a dollar sign for a reference.
        rest = _REST.format(driver=driver, uri=uri.replace('$', '$$'))
        self.servers = []
        for number in range(count):
            place = folder / str(number)
            place.mkdir()
            self.servers.append(Zaqar(place, rest=rest))
        if driver == 'sqlalchemy':
            done = self.servers[0].run(
                'upgrade', 'head', program='sql_db_manage'
            )
            assert done.returncode == 0, done.stderr
        self._web = site(folder, *(server.port for server in self.servers))
        self.url = f'{self._web.url}/messaging'

    def stop(self) -> None:
        """End everything."""
        self._web.stop()
        for server in self.servers:
            if hasattr(server, 'process'):
                server.stop(signal.SIGKILL)


class Failed(Exception):
    """Something was not as it must be; the text says what."""


def come_and_go(
    fleet: Fleet, load: Load, more: int, tell: Callable[[str], None]
) -> None:
    """Let a third server join two under load, one leave, and one be killed.

    :param more: posts between two events
    :param tell: called with each event
    :raises Failed: more requests fail than were under way on the killed one,
        a message is in two claims or lost, or nothing goes on
    """
    with load:
        for event in _events(fleet):
            if not load.goes_on(more):
                raise Failed(f'nothing goes on after: {event}')
            tell(f'{event}; {len(load.posted)} posted a while later')
            allowed = load.clients if event == _KILLED else 0
            if load.failed.total() > allowed:
                raise Failed(f'{event}: {dict(load.failed)}')
    load.drain()
    if load.failed.total() > load.clients:
        raise Failed(f'more failed than was under way: {dict(load.failed)}')
    faults = load.faults()
    if faults:
        raise Failed('; '.join(faults[:10]))
    tell(
        f'{len(load.posted)} posted, {len(load.taken)} claimed and deleted, '
        f'{load.failed.total()} failed'
    )


_KILLED = 'the second is killed'


def _events(fleet: Fleet) -> Iterator[str]:
    first, second, third = fleet.servers
    yield 'two serve'
    third.start()
    yield 'a third joins'
    if first.stop() != 0:
        raise Failed('the first does not end well')
    yield 'the first leaves'
    second.stop(signal.SIGKILL)
    yield _KILLED
