# SPDX-License-Identifier: Apache-2.0
"""A Galera cluster of three nodes, on one machine.

All nodes start from a copy of the same data, and a node that was away catches
up from the write-sets of the others (IST), so no state is ever copied whole.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import tempfile
from collections.abc import Sequence
from typing import Any

import pymysql
import sqlalchemy as sa

from zaqar.tests.servers import clustercheck, process, sql

LIBRARY = pathlib.Path('/usr/lib/galera/libgalera_smm.so')

#: State transfer by our own script: hands over where the joiner is to begin.
#: A whole copy is refused.
_SST = 'handover'

_SST_SCRIPT = """\
#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        --role) role=$2; shift ;;
        --address) address=$2; shift ;;
        --datadir) data=$2; shift ;;
        --gtid) gtid=$2; shift ;;
        --bypass) bypass=1 ;;
    esac
    shift
done
if [ "$role" = joiner ]; then
    pipe=${data%/}/handover
    rm -f "$pipe"
    mkfifo "$pipe"
    echo "ready $pipe"
    cat "$pipe"
elif [ -n "$bypass" ]; then
    echo "$gtid" >"$address"
    echo "done $gtid"
else
    echo 'a whole copy of the state is not to be had here' >&2
    exit 95
fi
"""

#: A node that is not heard of is given up sooner than after the five seconds
#: that a request may take; see "Databases in production" in the guide.
_OPTIONS = {
    'evs.keepalive_period': 'PT0.5S',
    'evs.suspect_timeout': 'PT2S',
    'evs.inactive_timeout': 'PT6S',
    'gcache.size': '64M',
}

_POSITION = re.compile(r'Recovered position:\s*(\S+:-?\d+)')


class Node(sql.MariaDB):
    """A node of a cluster.

    :param cluster: what it is part of
    :param number: its number there
    """

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster = cluster
        self.number = number
        self.base_port = process.free_port()
        super().__init__(durable=cluster.durable)

    def start(self) -> None:
        """Start it and wait until it is in step with the others."""
        self.launch()
        self.process.wait_until(lambda: process.accepts(self.port))
        self.process.wait_until(self.is_synced)

    def launch(self) -> None:
        """Start it, and do not wait."""
        command = [
            *self._command(),
            f'--wsrep-start-position={self._position()}',
            *([] if self.cluster.nodes else ['--wsrep-new-cluster']),
        ]
        path = f'{self.cluster.folder}:{os.environ["PATH"]}'
        self.process = process.Process(
            command,
            self.folder / 'log',
            user=self.user,
            env={'PATH': path},
        )

    def through(self, uri: str) -> str:
        """Return the URI of a database of the cluster, on this node."""
        url = self.url.set(database=sa.make_url(uri).database)
        return url.render_as_string(hide_password=False)

    def is_synced(self) -> bool:
        """Tell whether it is a full member of the cluster."""
        return clustercheck.is_in_step(self.port)

    def size(self) -> int:
        """Return how many members it sees."""
        return int(self.status('wsrep_cluster_size'))

    def sees(self, size: int) -> bool:
        """Tell whether it serves as one of so many members."""
        return self.is_synced() and self.size() == size

    def status(self, name: str) -> str:
        """Return a status variable."""
        rows = self.ask(f"SHOW GLOBAL STATUS LIKE '{name}'")
        return str(rows[0][1])

    def set(self, name: str, value: str) -> None:
        """Set a global variable."""
        self.ask(f"SET GLOBAL {name} = '{value}'")

    def ask(self, statement: str) -> Sequence[Sequence[Any]]:
        """Run a statement, also on a node without quorum."""
        # SQLAlchemy begins with questions that such a node does not answer.
        connection = pymysql.connect(
            host='127.0.0.1',
            port=self.port,
            user='root',
            connect_timeout=10,
            read_timeout=10,
            autocommit=True,
            # Else each would load all certificates of the system first.
            ssl_disabled=True,
        )
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(statement)
            rows: Sequence[Sequence[Any]] = cursor.fetchall()
            return rows

    def pause(self) -> None:
        """Let it hang."""
        self.process.child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.child.send_signal(signal.SIGCONT)

    def isolate(self) -> None:
        """Let it lose the others, who lose it."""
        self.set('wsrep_provider_options', 'gmcast.isolate=1')

    def rejoin(self) -> None:
        """Let it find the others again."""
        self.set('wsrep_provider_options', 'gmcast.isolate=0')

    def desync(self, state: bool) -> None:
        """Let it fall behind without slowing the others, or catch up."""
        self.set('wsrep_desync', 'ON' if state else 'OFF')

    def _initialize(self) -> None:
        template = self.cluster.folder / 'template'
        if not self.cluster.nodes:
            super()._initialize()
            self._identify()
            shutil.copytree(self.folder / 'data', template)
            return
        self._locate()
        shutil.copytree(template, self.folder / 'data')
        if self.user is not None:
            for path in (self.folder / 'data').rglob('*'):
                os.chown(path, self.user.pw_uid, self.user.pw_gid)
            os.chown(self.folder / 'data', self.user.pw_uid, -1)

    def _identify(self) -> None:
        """Give the data the identity of a cluster."""
        self.start()
        self.halt()

    def _position(self) -> str:
        """Return where in the history of the cluster the data stands."""
        state = self.folder / 'data' / 'grastate.dat'
        if not state.exists() or 'seqno:   -1' not in state.read_text():
            # New, or ended in good order: the server knows.
            return '00000000-0000-0000-0000-000000000000:-1'
        output = self._run(*self._command(), '--wsrep-recover')
        return str(_POSITION.findall(output)[-1])

    def _command(self) -> Sequence[str]:
        address = ','.join(
            f'127.0.0.1:{node.base_port}' for node in self.cluster.nodes
        )
        port = self.base_port
        options = {
            'base_port': port,
            'base_host': '127.0.0.1',
            'gmcast.listen_addr': f'tcp://127.0.0.1:{port}',
            'ist.recv_addr': f'127.0.0.1:{process.free_port()}',
            **_OPTIONS,
            **self.cluster.options,
        }
        return [
            *super()._command(),
            '--innodb-log-file-size=16M',
            '--wsrep-on=ON',
            f'--wsrep-provider={LIBRARY}',
            f'--wsrep-cluster-address=gcomm://{address}',
            f'--wsrep-node-name=node{self.number}',
            f'--wsrep-node-address=127.0.0.1:{port}',
            f'--wsrep-sst-method={_SST}',
            '--wsrep-provider-options='
            + ';'.join(f'{key}={value}' for key, value in options.items()),
            f'--wsrep-slave-threads={self.cluster.appliers}',
            '--binlog-format=ROW',
            '--innodb-autoinc-lock-mode=2',
        ]


class Cluster:
    """Three nodes that hold the same.

    :param durable: whether nodes wait for the disk
    :param appliers: threads that apply what other nodes wrote
    :param options: options of the Galera provider, by name
    :ivar nodes: the members
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        appliers: int = 4,
        **options: str,
    ) -> None:
        if not LIBRARY.exists():
            process.missing('Galera is not installed')
        self.durable = durable
        self.appliers = appliers
        self.options = options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='zaqar-test-'))
        self.folder.chmod(0o755)
        script = self.folder / f'wsrep_sst_{_SST}'
        script.write_text(_SST_SCRIPT)
        script.chmod(0o755)
        self.nodes: list[Node] = []
        for number in range(3):
            self.nodes.append(Node(self, number))
        for node in self.nodes:
            node.process.wait_until(lambda node=node: node.size() == 3)

    def database(self) -> str:
        """Return the URL of a new, empty database, on the first node."""
        return self.nodes[0].database()

    def stop(self) -> None:
        """End all of it."""
        for node in self.nodes:
            node.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
