# SPDX-License-Identifier: Apache-2.0
"""A database under measurement, and the servers on it."""

from __future__ import annotations

import os
import pathlib
import secrets
import subprocess
import sys
from collections.abc import Sequence

from oslo_config import cfg

from benchmarks import machine
from zaqar import service_assembly
from zaqar.objects import NewMessage, Scope
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage import installed_drivers
from zaqar.storage.abstract_stores import MessageStore
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

#: Messages of one post while a queue is filled, and of one claim.
BATCH = 1000
CLAIM_BATCH = 500

#: Seconds that messages and claims live: longer than any run.
TTL = 86_400

#: Who posts; whoever reads is somebody else, as in real life.
POSTER = '3381af92-2b9e-11e3-b191-71861300734c'
READER = '9c0d3b52-6f0a-4a64-9d3e-0d3f0f7a3c11'

#: What is posted: about as long as an event usually is.
BODY = (
    b'{"event":"instance.resize","id":"6d1d6f0c-8a5c-4a0e-9a53",'
    b'"attempt":1,"progress":0.75,"tags":["bench"]}'
)

_STORES = """
[drivers]
message_store = {driver}
management_store = {driver}
[drivers:message_store:{driver}]
uri = {uri}
[drivers:management_store:{driver}]
uri = {uri}
"""

_SETTINGS = """
[drivers]
{transport}
[gc]
interval = {sweep}
"""

_FLOOR = """
[drivers:transport:wsgi]
port = {port}
"""

_ROOT = pathlib.Path(__file__).parent.parent


class Queue:
    """A queue reached without the service, to be filled.

    :ivar path: of the queue under the service's address
    """

    def __init__(self, catalogue: Catalogue, project: str, name: str) -> None:
        record = catalogue.ensure(Scope(project, name))
        self.project = project
        self.name = name
        self.path = f'/v2/queues/{name}'
        self.qid = record.qid
        self.store: MessageStore = catalogue.store(record)

    def now(self) -> int:
        """Return the time by the clock of the store."""
        return self.store.clock.now()

    def post(self, count: int) -> Sequence[str]:
        """Post messages at once; return their ids."""
        return self.store.post(
            self.qid,
            [new_message() for _ in range(count)],
            now=self.now(),
            token=secrets.token_hex(16),
        )

    def fill(self, count: int) -> list[str]:
        """Post many messages; return their ids."""
        ids: list[str] = []
        while len(ids) < count:
            ids += self.post(min(BATCH, count - len(ids)))
        return ids

    def claim(self, count: int) -> None:
        """Claim the oldest messages."""
        while count > 0:
            size = min(CLAIM_BATCH, count)
            self.store.claim(
                self.qid,
                now=self.now(),
                claim_id=secrets.token_hex(16),
                ttl=TTL,
                grace=0,
                limit=size,
            )
            count -= size


def new_message() -> NewMessage:
    """Return a message as the service makes it of :data:`BODY`."""
    return NewMessage(BODY, TTL, secrets.token_hex(8), POSTER)


class Target:
    """A service with one worker on a database, and the floor beside it.

    :param url: of a database; an empty one gets its tables
    :param folder: for configuration and logs
    """

    _floor: process.Process | None = None
    _floor_port = 0

    def __init__(self, url: str, folder: pathlib.Path) -> None:
        # Nobody else's queues are touched.
        self.url = url
        self.project = f'bench-{secrets.token_hex(6)}'
        self.server = Zaqar(folder, rest=settings(url), workers=1)
        create_tables(self.server, url)
        with machine.pinned(_server_core()):
            self.server.start()
        conf = configuration([f'--config-file={self.server.conf}'])
        self._service = service_assembly.Service(conf)
        self.catalogue = self._service.catalogue
        self._queues: list[Queue] = []

    @property
    def port(self) -> int:
        """Port of the service."""
        return self.server.port

    @property
    def floor_port(self) -> int:
        """Port of the floor, which is started when it is first needed."""
        if self._floor is None:
            with machine.pinned(_server_core()):
                self._floor_port = process.free_port()
                self._floor = self._start_floor(self._floor_port)
        return self._floor_port

    def cpu_seconds(self, port: int) -> float:
        """Return the processor time used by who answers on a port."""
        pids = self.server.workers()
        if self._floor is not None and port == self._floor_port:
            pids = [self._floor.child.pid]
        return machine.cpu_seconds(*pids)

    def queue(self, name: str) -> Queue:
        """Return a queue, made if missing."""
        queue = Queue(self.catalogue, self.project, name)
        self._queues.append(queue)
        return queue

    def close(self, *, tidy: bool) -> None:
        """End everything.

        :param tidy: leave nothing in the database, which is not ours
        """
        self.server.stop()
        if self._floor is not None:
            self._floor.stop()
        if tidy:
            self._tidy()
        self._service.close()

    def _tidy(self) -> None:
        for queue in self._queues:
            self.catalogue.delete(Scope(queue.project, queue.name))
        while self.catalogue.sweep(BATCH) == BATCH:
            pass

    def _start_floor(self, port: int) -> process.Process:
        conf = self.server.folder / 'floor.conf'
        conf.write_text(_FLOOR.format(port=port))
        files = [f'--config-file={path}' for path in (self.server.conf, conf)]
        floor = process.Process(
            [sys.executable, '-m', 'benchmarks.floor', *files],
            self.server.folder / 'floor.log',
            env={'PYTHONPATH': _python_path()},
        )
        floor.wait_until(lambda: process.accepts(port))
        return floor


def configuration(words: Sequence[str]) -> cfg.ConfigOpts:
    """Return the configuration that some files make; log nothing."""
    conf = cfg.ConfigOpts()
    conf(list(words), project='zaqar')
    return conf


def settings(url: str, *, sweep: int = 0, transport: str = 'wsgi') -> str:
    """Return a configuration with a database.

    :param sweep: seconds between two rounds of the sweeper, 0 for none
    :param transport: the only one that is served, '' for all
    :raises LookupError: no driver knows such URLs
    """
    rest = _SETTINGS.format(
        sweep=sweep, transport=transport and f'transport = {transport}'
    )
    return stores(url) + rest


def stores(url: str) -> str:
    """Return the groups of a configuration that name a database.

    :raises LookupError: no driver knows such URLs
    """
    scheme = url.partition(':')[0].partition('+')[0]
    for name, driver in installed_drivers.installed().items():
        if scheme in driver.schemes:
            # oslo.config takes a dollar sign for a reference.
            uri = url.replace('$', '$$')
            return _STORES.format(driver=name, uri=uri)
    raise LookupError(f'no installed driver knows {scheme}: URLs')


def is_sql(url: str) -> bool:
    """Tell whether messages are rows of our tables."""
    return url.startswith(('sqlite', 'postgresql', 'mysql', 'mariadb'))


def create_tables(server: Zaqar, url: str) -> None:
    """Give a database on an SQL server its tables.

    :raises subprocess.CalledProcessError: it cannot be done
    """
    if is_sql(url) and not url.startswith('sqlite'):
        upgrade(server)


def upgrade(server: Zaqar) -> None:
    """Bring the tables of a server's database up to its release.

    :raises subprocess.CalledProcessError: it cannot be done
    """
    done = server.run('upgrade', 'head', program='sql_db_manage')
    if done.returncode:
        raise subprocess.CalledProcessError(
            done.returncode, done.args, done.stdout, done.stderr
        )


def _server_core() -> int | None:
    cores = machine.cores()
    return cores[0] if cores else None


def _python_path() -> str:
    inherited = os.environ.get('PYTHONPATH')
    return f'{_ROOT}{os.pathsep}{inherited}' if inherited else str(_ROOT)
