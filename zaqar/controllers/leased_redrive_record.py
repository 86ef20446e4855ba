# SPDX-License-Identifier: Apache-2.0
"""The record of a running redrive, under the lease of one notifier."""

from collections.abc import Callable

import msgspec

from zaqar.controllers import redrive_records
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.redrive_records import Redrive
from zaqar.objects import Scope
from zaqar.storage.record_updates_and_listing import repeat

#: Milliseconds after which another notifier continues, between two renewals,
#: and that must be left of a lease for a post.
LEASE, RENEW, MARGIN = 15_000, 5_000, 5_000


class Lost(Exception):
    """Another notifier works on the redrive, or nobody needs to any more."""


def is_held(redrive: Redrive, now: int) -> bool:
    """Tell whether a notifier has a lease.

    One that would last for longer than any is from before the clock of the
    store was set back; notifiers may know its time less exactly than that.
    """
    return now < redrive.lease_until <= now + LEASE + MARGIN


class LeasedJob:
    """The record of a redrive, under the lease of this process."""

    def __init__(self, ctx: Context, scope: Scope, owner: str) -> None:
        self._store = ctx.catalogue.management
        self._scope = scope
        self._owner = owner
        self._id = ''
        self._lease_until = 0
        #: As it was read, with its version; None once it was changed.
        self._fresh: tuple[Redrive, int] | None = None

    def now(self) -> int:
        return self._store.clock.now()

    def take(self) -> bool:
        """Take the lease, if nobody has it; return whether this one has."""
        record = redrive_records.job(self._store, self._scope)
        if record is None:
            return False
        redrive = redrive_records.read(record)
        if redrive.owner != self._owner and is_held(redrive, self.now()):
            return False
        self._id = redrive.id
        redrive.owner, redrive.was_taken = self._owner, True
        redrive.lease_until = self.now() + LEASE
        return redrive_records.replace(self._store, redrive, record.version)

    def leave(self) -> None:
        redrive, version = self._read()
        redrive.owner, redrive.lease_until = '', 0
        redrive_records.replace(self._store, redrive, version)

    def read(self) -> Redrive:
        """Return it as it is recorded now.

        :raises Lost: it is gone, or another process has the lease
        """
        self._fresh = self._read()
        return msgspec.structs.replace(self._fresh[0])

    def save(self, edit: Callable[[Redrive], None]) -> Redrive:
        """Change it, and renew the lease.

        :param edit: called again if its status was changed meanwhile; may also
            be called though its first result was stored
        :raises Lost: it is gone, or another process has the lease
        """

        def attempt() -> Redrive | None:
            redrive, version = self._fresh or self._read()
            self._fresh = None
            edit(redrive)
            redrive.lease_until = self.now() + LEASE
            done = redrive_records.replace(self._store, redrive, version)
            self._lease_until = redrive.lease_until if done else 0
            return redrive if done else None

        return repeat(attempt)

    def save_try(self) -> Redrive:
        """Note that the claim of the next batch holds nothing."""
        before = (self._fresh or self._read())[0].tries

        def edit(redrive: Redrive) -> None:
            redrive.tries = before + 1

        return self.save(edit)

    def renew(self) -> None:
        """Renew the lease, if it is time."""
        if self._lease_until - self.now() < LEASE - RENEW:
            self.save(lambda redrive: None)

    def confirm(self) -> None:
        """Make sure that the lease lasts for another call of a store.

        This process may have been stopped for some time.

        :raises Lost: another process has it
        """
        if self._lease_until - self.now() < MARGIN:
            self.save(lambda redrive: None)

    def archive(self) -> None:
        redrive, version = self._read()
        redrive_records.archive(self._store, redrive, version)

    def _read(self) -> tuple[Redrive, int]:
        record = redrive_records.job(self._store, self._scope)
        if record is None:
            raise Lost
        redrive = redrive_records.read(record)
        if redrive.id != self._id or redrive.owner != self._owner:
            raise Lost
        self._lease_until = redrive.lease_until
        return redrive, record.version
