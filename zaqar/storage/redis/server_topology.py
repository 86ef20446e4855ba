# SPDX-License-Identifier: Apache-2.0
"""Server topology: standalone, Sentinel or Cluster."""

import abc
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from redis import exceptions
from redis.crc import key_slot

from zaqar.storage.redis.error_code_parsing import error_code
from zaqar.storage.redis.node_connection_pool import (
    Command,
    ConnectionLost,
    RedisNode,
)
from zaqar.storage.redis.node_from_settings import make_node
from zaqar.storage.redis.single_flight import SingleFlight
from zaqar.storage.redis.uri_parsing import (
    ConnectionSettings,
    Host,
    Login,
    Mode,
)

#: Seconds that a Sentinel, or a node queried for the slots, may take.
PROBE_TIMEOUT = 0.4

#: Seconds after which no further one is queried.
PROBE_DEADLINE = 0.8


class Topology(abc.ABC):
    """The servers that a URI leads to.

    :cvar is_single_server: whether all keys are on one server
    """

    is_single_server = True

    @abc.abstractmethod
    def node(self, key: str) -> RedisNode:
        """Return the node that has a key.

        :raises ConnectionLost: it is unknown
        """

    @abc.abstractmethod
    def nodes(self) -> Sequence[RedisNode]:
        """Return all nodes that have keys.

        :raises ConnectionLost: they are unknown
        """

    def exchange(
        self, key: str, commands: Sequence[Command], until: float | None = None
    ) -> list[Any]:
        """Send commands to the node that has a key; return the answers.

        Errors that the server returns are among the answers.

        :param until: see :meth:`RedisNode.exchange`
        :raises ConnectionLost: there is no connection, or it broke
        """
        return self.node(key).exchange(commands, until)

    def invalidate(self) -> None:
        """Determine again who serves, before the next try."""
        return

    @abc.abstractmethod
    def close(self) -> None:
        """Give back all connections."""


class StandaloneTopology(Topology):
    """One server."""

    def __init__(self, settings: ConnectionSettings) -> None:
        host = settings.hosts[0] if settings.hosts else None
        self._node = make_node(settings, host)
        self._node.needs_primary = True

    def node(self, key: str) -> RedisNode:
        return self._node

    def exchange(
        self, key: str, commands: Sequence[Command], until: float | None = None
    ) -> list[Any]:
        return self._node.exchange(commands, until)

    def nodes(self) -> Sequence[RedisNode]:
        return [self._node]

    def invalidate(self) -> None:
        # Another server may have the address now; open connections would
        # never notice.
        self._node.close()

    def close(self) -> None:
        self._node.close()


class SentinelTopology(Topology):
    """The primary that Sentinels name."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._sentinels = [
            _probe(settings, host, settings.sentinel_credentials)
            for host in settings.hosts
        ]
        self._discovery = SingleFlight()
        self._primary: tuple[Host, RedisNode] | None = None
        self._is_stale = False

    def node(self, key: str) -> RedisNode:
        if self._primary is None or self._is_stale:
            self._discovery.run(self._discover, self._is_current)
        assert self._primary is not None
        return self._primary[1]

    def nodes(self) -> Sequence[RedisNode]:
        return [self.node('')]

    def invalidate(self) -> None:
        self._is_stale = True
        if self._primary is not None:
            # The name that Sentinels return may resolve differently now.
            self._primary[1].close()

    def close(self) -> None:
        for sentinel in self._sentinels:
            sentinel.close()
        if self._primary is not None:
            self._primary[1].close()

    def knows_master(self) -> bool:
        """Tell whether any Sentinel that answers knows the master's name.

        :raises ConnectionLost: none answers
        """
        return self._query() is not None

    def _is_current(self) -> bool:
        return self._primary is not None and not self._is_stale

    def _discover(self) -> None:
        host = self._query()
        if host is None:
            raise ConnectionLost('no Sentinel knows the name of the master')
        former = self._primary
        if former is None or former[0] != host:
            self._primary = host, make_node(self._settings, host)
            self._primary[1].needs_primary = True
            if former is not None:
                former[1].close()
        self._is_stale = False

    def _query(self) -> Host | None:
        master = self._settings.master
        command = 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', master
        has_answer = False
        try:
            for answer in _query_in_turn(self._sentinels, command):
                has_answer = True
                if answer:
                    return answer[0].decode(), int(answer[1])
        except ConnectionLost:
            if not has_answer:
                raise
        return None


class ClusterTopology(Topology):
    """A cluster: each node has some slots."""

    is_single_server = False

    #: Redirections of one call, at most.
    MAX_REDIRECTIONS = 5

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._nodes: dict[Host, RedisNode] = {}
        self._slots: dict[int, Host] = {}
        self._is_stale = True
        self._reading = SingleFlight()

    def node(self, key: str) -> RedisNode:
        self._refresh()
        host = self._slots.get(key_slot(key.encode()))
        if host is None:
            self.invalidate()
            raise ConnectionLost('no server of the cluster has the slot')
        return self._node(host)

    def nodes(self) -> Sequence[RedisNode]:
        self._refresh()
        hosts = dict.fromkeys([*self._slots.values()])
        return [self._node(host) for host in hosts]

    def exchange(
        self, key: str, commands: Sequence[Command], until: float | None = None
    ) -> list[Any]:
        node, is_asking = self.node(key), False
        for _ in range(self.MAX_REDIRECTIONS):
            prefix: list[Command] = [('ASKING',)] if is_asking else []
            answers = node.exchange([*prefix, *commands], until)
            answers = answers[len(prefix) :]
            code = error_code(answers[0])
            if code not in ('MOVED', 'ASK'):
                return answers
            host, is_asking = _redirection(answers[0], node), code == 'ASK'
            if not is_asking:
                # Others have moved, too; the slots are read again next time.
                self._slots[key_slot(key.encode())] = host
                self.invalidate()
            node = self._node(host)
        raise ConnectionLost('too many redirections')

    def invalidate(self) -> None:
        self._is_stale = True

    def close(self) -> None:
        for node in [*self._nodes.values()]:
            node.close()

    def _node(self, host: Host) -> RedisNode:
        with self._lock:
            if host not in self._nodes:
                self._nodes[host] = make_node(self._settings, host)
            return self._nodes[host]

    def _refresh(self) -> None:
        """Read the slots again if they may be stale.

        While one thread does, the others go by the old ones: a node that
        hangs must not delay calls to those that do not.
        """
        if not self._is_stale:
            return
        if not self._slots:
            self._reading.run(self._read_slots, lambda: bool(self._slots))
        else:
            self._reading.try_run(self._read_slots)

    def _read_slots(self) -> None:
        hosts = {**self._nodes, **dict.fromkeys(self._settings.hosts)}
        probes = [
            _probe(self._settings, host, self._settings.credentials)
            for host in hosts
        ]
        names = dict(zip(probes, hosts, strict=True))
        self._is_stale = False
        try:
            for answer in _query_in_turn(probes, ('CLUSTER', 'SLOTS')):
                # The one that answered is the first now.
                if slots := _slots(answer, names[probes[0]]):
                    self._slots = slots
                    return
            raise ConnectionLost('no server of the cluster knows the slots')
        except ConnectionLost:
            self._is_stale = True
            raise
        finally:
            for probe in probes:
                probe.close()


def _query_in_turn(nodes: list[RedisNode], command: Command) -> Iterator[Any]:
    """Yield what nodes answer to a command, except errors.

    One that answers is moved to the front for the next time, one that does
    not to the back.

    :raises ConnectionLost: none is left, or it has taken too long
    """
    cause: Exception | None = None
    end = time.monotonic() + PROBE_DEADLINE
    for node in [*nodes]:
        if time.monotonic() > end:
            break
        nodes.remove(node)
        try:
            (answer,) = node.exchange([command])
        except ConnectionLost as error:
            cause = error
            nodes.append(node)
            continue
        nodes.insert(0, node)
        if isinstance(answer, exceptions.ResponseError):
            cause = answer
            continue
        yield answer
    text = f'no answer to {" ".join(command)}'
    raise ConnectionLost(f'{text}: {cause}' if cause else text) from cause


def _probe(
    settings: ConnectionSettings, host: Host, credentials: Login
) -> RedisNode:
    """Return a node that is queried for other nodes."""
    return make_node(
        settings, host, credentials=credentials, timeout=PROBE_TIMEOUT
    )


def _slots(answer: Any, queried: Host) -> dict[int, Host]:
    slots: dict[int, Host] = {}
    for first, last, master, *_ in answer:
        name = (master[0] or b'').decode()
        host = _host_name(name, queried[0]), int(master[1])
        slots.update(dict.fromkeys(range(first, last + 1), host))
    return slots


def _redirection(error: Any, node: RedisNode) -> Host:
    """Return the host in "[MOVED] slot host:port"."""
    name, _, port = str(error).split()[-1].rpartition(':')
    return _host_name(name, node.name), int(port)


def _host_name(name: str, queried: str) -> str:
    """Return a name, or that of the node which was queried.

    A server that does not know a name omits it or returns a question mark.
    """
    return queried if name in ('', '?') else name


def make_topology(settings: ConnectionSettings) -> Topology:
    if settings.mode is Mode.CLUSTER:
        return ClusterTopology(settings)
    if settings.mode is Mode.SENTINEL:
        return SentinelTopology(settings)
    return StandaloneTopology(settings)
