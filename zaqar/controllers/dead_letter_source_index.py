# SPDX-License-Identifier: Apache-2.0
"""An index of queues by their dead-letter queue.

An entry is a record under the dead-letter queue with the name of a source. It
is made before the metadata that it is about, so that no crash leaves it out,
and is valid only as long as that metadata says the same: one that is not is
removed when it is read. Queues that had a dead-letter queue before there was
an index are in it once their metadata has changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zaqar.controllers import allowed_dead_letter_sources
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.name_validation import is_name
from zaqar.controllers.subscription_records import parent_of
from zaqar.errors import InvalidBody, InvalidRequest
from zaqar.microversion_constants import V2_1
from zaqar.objects import Record, Scope

SOURCE = 'letter_source'

_KEY = '_dead_letter_queue'

#: Entries read at a time, and by one request.
BATCH = 100
MOST_SCANNED = 1000


def add(
    ctx: Context,
    scope: Scope,
    fields: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
) -> None:
    """Note the dead-letter queue in the metadata that a queue is to have.

    :param before: its metadata so far
    :raises InvalidBody: the dead-letter queue does not allow it
    """
    name = fields.get(_KEY)
    if not name:
        return
    letters = Scope(scope.project, name, scope.kind)
    if ctx.version >= V2_1 and name != (before or {}).get(_KEY):
        queue = ctx.catalogue.read(letters)
        if queue is not None and not allowed_dead_letter_sources.allows(
            queue.metadata, scope.name
        ):
            raise InvalidBody(
                f'Queue {name} does not allow to be the dead-letter queue of '
                f'{scope.name}, by its {allowed_dead_letter_sources.ALLOW}.'
            )
    ctx.catalogue.management.create(SOURCE, parent_of(letters), scope.name, {})


class Scan:
    """Reads the records of the sources of a dead-letter queue.

    :raises InvalidRequest: no queue can have its name
    :ivar bytes_decoded: none to speak of
    :ivar is_cut: whether it stopped before the end, for its length
    """

    bytes_decoded = 0

    def __init__(
        self, ctx: Context, letters: Scope, marker: str | None
    ) -> None:
        if not is_name(letters.name):
            raise InvalidRequest(
                'The dead_letter_queue must be the name of a queue.'
            )
        self._ctx = ctx
        self._letters = letters
        self._marker = marker
        self.is_cut = False

    def records(self) -> Iterator[Record]:
        """Yield them by name, as records of queues."""
        management = self._ctx.catalogue.management
        parent = parent_of(self._letters)
        scanned = 0
        while True:
            entries = management.list(
                SOURCE, parent, after=self._marker, limit=BATCH
            )
            for entry in entries:
                self._marker = entry.name
                record = self._source(entry.name)
                if record is not None:
                    yield record
                else:
                    management.delete(SOURCE, parent, entry.name)
            scanned += len(entries)
            if len(entries) < BATCH:
                return
            if scanned >= MOST_SCANNED:
                self.is_cut = True
                return

    def resume(self, lines: Sequence[Any]) -> str | None:
        """Return where the next page begins, None after an empty last one."""
        if self.is_cut:
            return self._marker
        return lines[-1].name if lines else None

    def _source(self, name: str) -> Record | None:
        letters = self._letters
        queue = self._ctx.catalogue.read(
            Scope(letters.project, name, letters.kind)
        )
        if queue is None or queue.metadata.get(_KEY) != letters.name:
            return None
        return Record(name, {'metadata': queue.metadata}, queue.version)
