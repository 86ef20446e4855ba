# SPDX-License-Identifier: Apache-2.0
"""Checks of batches, and what has become of each of their entries."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from zaqar.errors import ZaqarError
from zaqar.transport.sqs import faults
from zaqar.transport.sqs.faults import Fault

Output = dict[str, Any]

MOST_ENTRIES = 10

_ID = re.compile(r'[A-Za-z0-9_-]{1,80}')


def check(ids: Sequence[str]) -> None:
    """Check the ids of the entries of a batch.

    :raises Fault: there are none or too many, or they are not valid
    """
    if not ids:
        raise Fault('EmptyBatchRequest', 'There should be at least one entry.')
    if len(ids) > MOST_ENTRIES:
        raise Fault(
            'TooManyEntriesInBatchRequest',
            f'Maximum number of entries per request are {MOST_ENTRIES}. You '
            f'have sent {len(ids)}.',
        )
    if not all(map(_ID.fullmatch, ids)):
        raise Fault(
            'InvalidBatchEntryId',
            'A batch entry id can only contain alphanumeric characters, '
            'hyphens and underscores. It can be at most 80 letters long.',
        )
    if len({*ids}) < len(ids):
        raise Fault(
            'BatchEntryIdsNotDistinct', 'The ids of entries are distinct.'
        )


class Outcome:
    """What has become of the entries of a batch."""

    def __init__(self) -> None:
        self._successful: dict[str, Output] = {}
        self._failed: dict[str, Output] = {}

    def succeed(self, key: str, output: Output | None = None) -> None:
        """Note the answer to an entry."""
        self._successful[key] = {'Id': key, **(output or {})}

    def fail(self, key: str, fault: Fault) -> None:
        """Note the error of an entry."""
        self._failed[key] = {
            'Id': key,
            'SenderFault': fault.is_senders,
            'Code': fault.code,
            'Message': fault.message,
        }

    @contextlib.contextmanager
    def of(self, *keys: str) -> Iterator[None]:
        """Note the error of some entries, if the block raises one.

        A missing queue, a denied access and an unreachable store are errors
        of the whole request, if no entry has succeeded.
        """
        try:
            yield
        except Fault as fault:
            self._fail_rest(keys, fault)
        except ZaqarError as error:
            shown = faults.of(error)
            if not self._successful and (
                shown.status in faults.TRY_AGAIN
                or shown.name in ('QueueDoesNotExist', 'AccessDenied')
            ):
                raise
            self._fail_rest(keys, shown)

    def _fail_rest(self, keys: Sequence[str], fault: Fault) -> None:
        for key in keys:
            if key not in self._successful:
                self.fail(key, fault)

    def output(self) -> Output:
        """Return the answer to the batch."""
        return {
            'Successful': [*self._successful.values()],
            'Failed': [*self._failed.values()],
        }
