# SPDX-License-Identifier: Apache-2.0
"""Which server to ask: the only one, the one Sentinels name, or by slot."""

from __future__ import annotations

import abc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis import exceptions
from redis.crc import key_slot

from zaqar.storage.redis.address import Address, Host, Login, Mode
from zaqar.storage.redis.links import Command, Link, Lost, code, make_link

#: Seconds that a Sentinel, or a server asked for the map, may take.
ASIDE_TIMEOUT = 0.4

#: Seconds after which no further one is asked.
ASIDE_PATIENCE = 0.8


class Topology(abc.ABC):
    """The servers behind an address.

    :cvar is_one: whether all keys are on one server
    """

    is_one = True

    @abc.abstractmethod
    def link(self, key: str) -> Link:
        """Return the way to the server that has a key.

        :raises Lost: nobody knows
        """

    @abc.abstractmethod
    def links(self) -> Sequence[Link]:
        """Return the ways to all servers that have keys.

        :raises Lost: nobody knows
        """

    def exchange(
        self,
        key: str,
        commands: Sequence[Command],
        until: float | None = None,
    ) -> list[Any]:
        """Send commands to the server that has a key; return the answers.

        Errors that the server answers with are among the answers.

        :param until: see :meth:`Link.exchange`
        :raises Lost: there is no connection, or none any more
        """
        return self.link(key).exchange(commands, until)

    def doubt(self) -> None:
        """Look again who serves, before the next try."""
        return

    @abc.abstractmethod
    def close(self) -> None:
        """Give back all connections."""


class Single(Topology):
    """One server."""

    def __init__(self, address: Address) -> None:
        host = address.hosts[0] if address.hosts else None
        self._link = make_link(address, host)
        self._link.needs_primary = True

    def link(self, key: str) -> Link:
        return self._link

    def links(self) -> Sequence[Link]:
        return [self._link]

    def doubt(self) -> None:
        # Another server may have the address now; those who are connected
        # would never know.
        self._link.close()

    def close(self) -> None:
        self._link.close()


class Watched(Topology):
    """The server that Sentinels name."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._sentinels = [
            _aside(address, host, address.sentinel_login)
            for host in address.hosts
        ]
        self._finding = Together()
        self._found: tuple[Host, Link] | None = None
        self._is_doubted = False

    def link(self, key: str) -> Link:
        if self._found is None or self._is_doubted:
            self._finding.do(self._find, self._is_found)
        assert self._found is not None
        return self._found[1]

    def links(self) -> Sequence[Link]:
        return [self.link('')]

    def doubt(self) -> None:
        self._is_doubted = True
        if self._found is not None:
            # The name that Sentinels give may lead elsewhere now.
            self._found[1].close()

    def close(self) -> None:
        for link in self._sentinels:
            link.close()
        if self._found is not None:
            self._found[1].close()

    def is_known(self) -> bool:
        """Tell whether any Sentinel that answers knows the name.

        :raises Lost: none answers
        """
        return self._ask() is not None

    def _is_found(self) -> bool:
        return self._found is not None and not self._is_doubted

    def _find(self) -> None:
        host = self._ask()
        if host is None:
            raise Lost('no Sentinel knows the name of the master')
        former = self._found
        if former is None or former[0] != host:
            self._found = host, make_link(self._address, host)
            self._found[1].needs_primary = True
            if former is not None:
                former[1].close()
        self._is_doubted = False

    def _ask(self) -> Host | None:
        question = 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', self._address.master
        has_answer = False
        try:
            for answer in _asked_in_turn(self._sentinels, question):
                has_answer = True
                if answer:
                    return answer[0].decode(), int(answer[1])
        except Lost:
            if not has_answer:
                raise
        return None


class Cluster(Topology):
    """A cluster: each server has some slots."""

    is_one = False

    #: Times that a question may be passed on.
    MOST_STEPS = 5

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._links: dict[Host, Link] = {}
        self._slots: dict[int, Host] = {}
        self._is_doubted = True
        self._reading = Together()

    def link(self, key: str) -> Link:
        self._look()
        host = self._slots.get(key_slot(key.encode()))
        if host is None:
            self.doubt()
            raise Lost('no server of the cluster has the slot')
        return self._link(host)

    def links(self) -> Sequence[Link]:
        self._look()
        hosts = dict.fromkeys([*self._slots.values()])
        return [self._link(host) for host in hosts]

    def exchange(
        self,
        key: str,
        commands: Sequence[Command],
        until: float | None = None,
    ) -> list[Any]:
        link, is_asking = self.link(key), False
        for _ in range(self.MOST_STEPS):
            asking: list[Command] = [('ASKING',)] if is_asking else []
            answers = link.exchange([*asking, *commands], until)
            answers = answers[len(asking) :]
            word = code(answers[0])
            if word not in ('MOVED', 'ASK'):
                return answers
            host, is_asking = _target(answers[0], link), word == 'ASK'
            if not is_asking:
                # Others have moved, too; the map is read again next time.
                self._slots[key_slot(key.encode())] = host
                self.doubt()
            link = self._link(host)
        raise Lost('the cluster passes the question on and on')

    def doubt(self) -> None:
        self._is_doubted = True

    def close(self) -> None:
        for link in [*self._links.values()]:
            link.close()

    def _link(self, host: Host) -> Link:
        with self._lock:
            if host not in self._links:
                self._links[host] = make_link(self._address, host)
            return self._links[host]

    def _look(self) -> None:
        """Read the map if it is in doubt.

        While somebody does, the others go by the old one: a server that
        hangs is to keep nobody from those that do not.
        """
        if not self._is_doubted:
            return
        if not self._slots:
            self._reading.do(self._read, lambda: bool(self._slots))
        else:
            self._reading.do_alone(self._read)

    def _read(self) -> None:
        hosts = {**self._links, **dict.fromkeys(self._address.hosts)}
        asides = [
            _aside(self._address, host, self._address.login) for host in hosts
        ]
        names = dict(zip(asides, hosts, strict=True))
        question = 'CLUSTER', 'SLOTS'
        self._is_doubted = False
        try:
            for answer in _asked_in_turn(asides, question):
                # Whoever has answered stands first now.
                if slots := _slots(answer, names[asides[0]]):
                    self._slots = slots
                    return
            raise Lost('no server of the cluster knows the slots')
        except Lost:
            self._is_doubted = True
            raise
        finally:
            for link in asides:
                link.close()


class Together:
    """Work that many want done and one does for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._failure = Lost('')

    def do(
        self, work: Callable[[], None], is_done: Callable[[], bool]
    ) -> None:
        """Do work, or wait for who does it and share what comes of it.

        One after another would wait for the same silence.

        :raises Lost: it came to nothing
        """
        seen = self._failures
        with self._lock:
            if is_done():
                return
            if self._failures != seen:
                raise Lost(str(self._failure)) from self._failure
            try:
                work()
            except Lost as error:
                self._failures += 1
                self._failure = error
                raise

    def do_alone(self, work: Callable[[], None]) -> None:
        """Do work unless somebody is doing it, or it comes to nothing."""
        if self._lock.acquire(blocking=False):
            try:
                work()
            except Lost:
                return
            finally:
                self._lock.release()


def _asked_in_turn(links: list[Link], question: Command) -> Iterator[Any]:
    """Yield what servers answer to a question, which is not an error.

    Who has answered is put in front for the next time, who has not behind.

    :raises Lost: none is left, or it has taken too long
    """
    cause: Exception | None = None
    end = time.monotonic() + ASIDE_PATIENCE
    for link in [*links]:
        if time.monotonic() > end:
            break
        links.remove(link)
        try:
            (answer,) = link.exchange([question])
        except Lost as error:
            cause = error
            links.append(link)
            continue
        links.insert(0, link)
        if isinstance(answer, exceptions.ResponseError):
            cause = answer
            continue
        yield answer
    text = f'no answer to {" ".join(question)}'
    raise Lost(f'{text}: {cause}' if cause else text) from cause


def _aside(address: Address, host: Host, login: Login) -> Link:
    """Return a way to a server that is asked for other servers."""
    return make_link(address, host, login=login, patience=ASIDE_TIMEOUT)


def _slots(answer: Any, asked: Host) -> dict[int, Host]:
    found: dict[int, Host] = {}
    for first, last, master, *_ in answer:
        name = (master[0] or b'').decode()
        host = _named(name, asked[0]), int(master[1])
        found.update(dict.fromkeys(range(first, last + 1), host))
    return found


def _target(error: Any, link: Link) -> Host:
    """Return the address in "[MOVED] slot host:port"."""
    name, _, port = str(error).split()[-1].rpartition(':')
    return _named(name, link.name), int(port)


def _named(name: str, asked: str) -> str:
    """Return a name, or the one by which we asked.

    A server that does not know a name leaves it out or says so.
    """
    return asked if name in ('', '?') else name


def find(address: Address) -> Topology:
    """Return the servers at an address."""
    if address.mode is Mode.CLUSTER:
        return Cluster(address)
    if address.mode is Mode.SENTINEL:
        return Watched(address)
    return Single(address)
