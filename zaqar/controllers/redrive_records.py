# SPDX-License-Identifier: Apache-2.0
"""Records of redrives.

While it runs, a redrive is one record, a *job*, whose name is derived from its
queue: so there is one per queue, and notifiers find all of them under one
parent. It holds what was requested, how far it has got, and the lease of the
notifier that works on it. Once it has ended and left nothing half done, it
becomes a record under its queue, which is shown for a week.

An id begins with the time of its creation, counted backwards: the newest is
the first of a list.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from zaqar.controllers.subscription_records import parent_of
from zaqar.objects import Record, Scope
from zaqar.storage.abstract_stores import ManagementStore
from zaqar.storage.record_updates_and_listing import repeat

#: Kind and parent of jobs; kind of redrives that have ended; index of the
#: latter by the time at which they are removed.
JOB, JOBS = 'redriving', 'redrives'
ENDED = 'redrive'
EXPIRY = 'ending'

#: Seconds for which an ended redrive is shown, and the most for a queue.
LIFETIME = 7 * 86_400
MAX_SHOWN = 100

#: Jobs read at a time.
BATCH = 100

_DIGITS = 14
_LAST = 16**_DIGITS - 1
_ID = re.compile('[0-9a-f]{1,64}')

Status = Literal['running', 'done', 'cancelled', 'failed']


class Redrive(msgspec.Struct, omit_defaults=True):
    """A redrive, as it is recorded.

    :ivar qid: the incarnation of the queue
    :ivar to: name of the target; None: each message goes to its source
    :ivar filter: conditions, as requested
    :ivar limit: most messages to move; None for any number
    :ivar rate: most messages a second; None for any number
    :ivar started_at: in milliseconds, as ``ended_at``; messages that arrive
        later are not moved
    :ivar error: why it failed, or what it waits for
    :ivar matched: messages that matched so far, moved or not
    :ivar marker: place in the queue behind the last one dealt with
    :ivar batch: number of the next batch; its claim and tokens derive from it
    :ivar tries: claims of that batch that hold nothing any more; the id of one
        that has lapsed cannot be used again
    :ivar closing: ids of the messages of the batch before, which are in their
        targets and are to be deleted
    :ivar closing_claim: id of the claim of the batch before
    :ivar owner: the notifier that works on it, until ``lease_until``; '' if
        none has it
    :ivar was_taken: whether one ever had it, so that a batch may be half done
    """

    id: str
    project: str
    queue: str
    qid: str
    started_at: int
    to: str | None = None
    filter: dict[str, Any] = {}
    limit: int | None = None
    rate: int | None = None
    status: Status = 'running'
    ended_at: int | None = None
    error: str | None = None
    moved: int = 0
    matched: int = 0
    marker: str | None = None
    batch: int = 0
    tries: int = 0
    closing: list[str] = []
    closing_claim: str = ''
    owner: str = ''
    lease_until: int = 0
    was_taken: bool = False

    @property
    def scope(self) -> Scope:
        return Scope(self.project, self.queue)

    @property
    def has_ended(self) -> bool:
        return self.status != 'running'

    @property
    def claim_id(self) -> str:
        """The id of the claim that holds the next batch."""
        return f'{self.id}-{self.batch:x}-{self.tries:x}'

    def token(self, target: Scope) -> str:
        """Return the token of the post of the next batch to a queue."""
        text = f'{self.id} {self.batch} {target.kind} {target.name}'
        return hashlib.sha256(text.encode()).hexdigest()

    def end(self, status: Status, now: int, error: str | None = None) -> None:
        """Give it a final status, unless it has one."""
        if not self.has_ended:
            self.status, self.ended_at, self.error = status, now, error


def new_id(now: int) -> str:
    """Return an id that precedes those of earlier redrives."""
    return f'{_LAST - now:0{_DIGITS}x}{secrets.token_hex(9)}'


def job_name(scope: Scope) -> str:
    return hashlib.sha256(parent_of(scope).encode()).hexdigest()


def start(store: ManagementStore, redrive: Redrive) -> Redrive | None:
    """Record a redrive, unless there is another one of its queue.

    :returns: the other one
    """
    name = job_name(redrive.scope)

    def attempt() -> tuple[Redrive | None] | None:
        if store.create(JOB, JOBS, name, _data(redrive)):
            return (None,)
        record = store.get(JOB, JOBS, name)
        if record is None:
            return None
        other = read(record)
        # The answer of a first try may have been lost.
        return (None if other.id == redrive.id else other,)

    return repeat(attempt)[0]


def jobs(store: ManagementStore, after: str | None) -> Sequence[Record]:
    """Return records of jobs of all projects, :data:`BATCH` at most."""
    return store.list(JOB, JOBS, after=after, limit=BATCH)


def job(store: ManagementStore, scope: Scope) -> Record | None:
    """Return the record of a queue's job, if it has one."""
    return store.get(JOB, JOBS, job_name(scope))


def replace(store: ManagementStore, redrive: Redrive, version: int) -> bool:
    """Change a job, if its record still has this version."""
    return store.replace(
        JOB, JOBS, job_name(redrive.scope), _data(redrive), version=version
    )


def archive(store: ManagementStore, redrive: Redrive, version: int) -> None:
    """Make a job that has ended a record under its queue.

    May be repeated, and done by several processes at once.
    """
    scope, at = redrive.scope, redrive.ended_at or redrive.started_at
    expiry = f'{at + LIFETIME * 1000:0{_DIGITS}x}{redrive.id}'
    place = {'project': scope.project, 'name': scope.name}
    store.create(EXPIRY, JOBS, expiry, place)
    redrive = msgspec.structs.replace(
        redrive,
        filter={},
        marker=None,
        closing=[],
        closing_claim='',
        owner='',
        lease_until=0,
    )
    store.create(ENDED, parent_of(scope), redrive.id, _data(redrive))
    store.delete(JOB, JOBS, job_name(scope), version=version)
    _remove_oldest(store, scope)


def _remove_oldest(store: ManagementStore, scope: Scope) -> None:
    records = store.list(
        ENDED, parent_of(scope), after=None, limit=MAX_SHOWN + BATCH
    )
    for record in records[MAX_SHOWN:]:
        store.delete(ENDED, parent_of(scope), record.name)


def find(
    store: ManagementStore, scope: Scope, redrive_id: str, now: int
) -> Redrive | None:
    """Return a redrive of a queue, running or not."""
    record = job(store, scope)
    if record is not None and record.data['id'] == redrive_id:
        return read(record)
    if not _ID.fullmatch(redrive_id):
        # Not every store takes such a key.
        return None
    # It is here before it is gone from there.
    record = store.get(ENDED, parent_of(scope), redrive_id)
    redrive = None if record is None else read(record)
    return redrive if redrive and not _is_over(redrive, now) else None


def shown(store: ManagementStore, scope: Scope, now: int) -> Sequence[Redrive]:
    """Return the redrives of a queue, the newest first."""
    record = job(store, scope)
    running = [] if record is None else [read(record)]
    records = store.list(ENDED, parent_of(scope), after=None, limit=MAX_SHOWN)
    by_id = {one.id: one for one in [*running, *map(read, records)]}
    live = [one for one in by_id.values() if not _is_over(one, now)]
    return sorted(live, key=lambda one: one.id)[:MAX_SHOWN]


def sweep(store: ManagementStore, batch: int) -> int:
    """Remove ended redrives that are shown no more.

    :returns: how many entries were read; fewer than ``batch`` at the end
    """
    now = store.clock.server_now()
    count = 0
    for record in store.list(EXPIRY, JOBS, after=None, limit=batch):
        if int(record.name[:_DIGITS], 16) > now:
            break
        count += 1
        scope = Scope(record.data['project'], record.data['name'])
        store.delete(ENDED, parent_of(scope), record.name[_DIGITS:])
        store.delete(EXPIRY, JOBS, record.name)
    return count


def read(record: Record) -> Redrive:
    return msgspec.convert(record.data, Redrive)


def _is_over(redrive: Redrive, now: int) -> bool:
    ended_at = redrive.ended_at
    return ended_at is not None and ended_at + LIFETIME * 1000 <= now


def _data(redrive: Redrive) -> Mapping[str, Any]:
    data: Mapping[str, Any] = msgspec.to_builtins(redrive)
    return data
