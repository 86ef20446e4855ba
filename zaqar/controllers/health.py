# SPDX-License-Identifier: Apache-2.0
"""Health of the stores, which are probed.

:source: reference/http, "Discovery and health"
"""

from __future__ import annotations

import concurrent.futures
import functools
import logging
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zaqar import request_deadline
from zaqar.controllers.caller_and_services import Context
from zaqar.errors import StoreUnavailable
from zaqar.objects import NewMessage
from zaqar.storage.abstract_stores import ManagementStore, MessageStore

LOG = logging.getLogger(__name__)

#: Seconds after which no further step is taken.
DEADLINE = 10.0

#: Pools probed at the same time.
AT_ONCE = 16

#: Messages of a probe, and the seconds that they and its claim live.
COUNT = 5
TTL = 60

#: Kind of the record that a probe creates.
_KIND = 'probe'

_UNREACHABLE: Mapping[str, Any] = {
    'storage_reachable': False,
    'operation_status': {},
}


def report(ctx: Context) -> dict[str, Any]:
    """Return the state of every store.

    With pooling there is one under each pool's name, beside
    ``catalog_reachable``; without, it is the document itself.
    """
    management = ctx.catalogue.management
    end = time.monotonic() + DEADLINE
    if 'pooling' not in ctx.features:
        return _pool_state(management, ctx.catalogue.openers()[''], end)
    try:
        openers = ctx.catalogue.openers()
    except StoreUnavailable:
        # Then the pools are unknown, too.
        return {'catalog_reachable': False}
    probe = functools.partial(_pool_state, management, end=end)
    # In parallel, so that an unreachable pool does not delay the others.
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
        states = dict(
            zip(openers, threads.map(probe, openers.values()), strict=True)
        )
    return {'catalog_reachable': answers(lambda: management), **states}


def answers(open_store: Callable[[], MessageStore | ManagementStore]) -> bool:
    """Tell whether a store can be opened and answers."""
    try:
        open_store().ping()
    except StoreUnavailable:
        return False
    return True


def _pool_state(
    management: ManagementStore,
    open_store: Callable[[], MessageStore],
    end: float,
) -> dict[str, Any]:
    # Its steps are many: it has a deadline of its own, and not that of a
    # request. One whose turn comes late is not unreachable for that.
    share = max(end - time.monotonic(), request_deadline.REQUEST)
    # Here, since threads of an executor do not have that of their caller.
    with request_deadline.within(share):
        return _probed(management, open_store, end)


def _probed(
    management: ManagementStore,
    open_store: Callable[[], MessageStore],
    end: float,
) -> dict[str, Any]:
    try:
        store = open_store()
        store.ping()
    except StoreUnavailable:
        return dict(_UNREACHABLE)
    # Before the probe adds messages.
    volume = _volume(store)
    probe = _Probe(management, store)
    try:
        status = _run(probe, end)
    finally:
        probe.clean_up()
    return {'storage_reachable': True, **volume, 'operation_status': status}


def _volume(store: MessageStore) -> dict[str, Any]:
    """Return how many messages a store holds, {} if it cannot tell."""
    try:
        stats = store.volume(now=store.clock.now())
    except StoreUnavailable:
        return {}
    if stats is None:
        return {}
    counts = {
        'free': stats.free,
        'claimed': stats.claimed,
        'total': stats.total,
    }
    return {'message_volume': counts}


def _run(probe: _Probe, end: float) -> dict[str, Any]:
    """Take the steps up to the first one that fails."""
    status: dict[str, Any] = {}
    for name, step in probe.steps():
        if time.monotonic() >= end:
            LOG.warning('A probe of the stores takes too long')
            break
        status[name] = _result(name, step)
        if not status[name]['succeeded']:
            break
    return status


def _result(name: str, step: Callable[[], None]) -> dict[str, Any]:
    began = time.monotonic()
    ref = None
    try:
        step()
    except Exception:
        # Every error of a driver is a result.
        ref = str(uuid.uuid4())
        LOG.exception('%s of a probe failed, reference %s', name, ref)
    return {
        'succeeded': ref is None,
        'seconds': time.monotonic() - began,
        'ref': ref,
    }


class _Probe:
    """A temporary queue of a project that does not exist."""

    def __init__(
        self, management: ManagementStore, store: MessageStore
    ) -> None:
        self._management = management
        self._store = store
        self._project = f'health-{secrets.token_hex(16)}'
        self._qid = secrets.token_hex(16)
        self._claim = secrets.token_hex(16)
        self._ids: list[str] = []

    def steps(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield the steps in order, by the names that clients see."""
        yield 'create_queue', self._create_queue
        yield 'post_messages', self._post
        yield 'claim_messages', self._take
        yield 'list_messages', self._list
        yield 'delete_messages', self._delete
        yield 'delete_claim', self._release
        yield 'bulk_delete_messages', self._delete_many
        yield 'delete_queue', self._delete_queue

    def clean_up(self) -> None:
        """Remove everything that a store would show."""
        try:
            with request_deadline.within(request_deadline.REQUEST):
                self._delete_queue()
        except StoreUnavailable:
            LOG.warning('A probe could not be cleaned up')

    def _create_queue(self) -> None:
        self._management.create(
            _KIND, self._project, 'queue', {'qid': self._qid}
        )

    def _post(self) -> None:
        messages = [
            NewMessage(b'{}', TTL, secrets.token_hex(8), 'health')
            for _ in range(COUNT)
        ]
        self._ids += self._store.post(
            self._qid, messages, now=self._now(), token=secrets.token_hex(16)
        )

    def _take(self) -> None:
        self._store.claim(
            self._qid,
            now=self._now(),
            claim_id=self._claim,
            ttl=TTL,
            grace=TTL,
            limit=2,
        )

    def _list(self) -> None:
        self._store.list(self._qid, now=self._now(), limit=COUNT)

    def _delete(self) -> None:
        self._store.delete(
            self._qid, self._ids[0], now=self._now(), claim_id=self._claim
        )

    def _release(self) -> None:
        self._store.release(self._qid, self._claim, now=self._now())

    def _delete_many(self) -> None:
        self._store.delete_many(self._qid, self._ids, now=self._now())

    def _delete_queue(self) -> None:
        self._store.drop(self._qid, now=self._now())
        self._management.delete(_KIND, self._project, 'queue')

    def _now(self) -> int:
        return self._store.clock.now()
