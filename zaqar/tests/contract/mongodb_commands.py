# SPDX-License-Identifier: Apache-2.0
"""Checks what the MongoDB drivers send against MongoDB's own reference.

The server of the tests accepts more than MongoDB does. Therefore every command
of a run is compared with ``mongodb_commands.csv``, a table of all commands,
options, stages and operators that MongoDB 4.4 to 8.0 know and that we use:
what is not in it, or in it from a later version on, is a fault, and so is what
a server refuses by context, mostly in transactions.
"""

from __future__ import annotations

import csv
import pathlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import monitoring

TABLE = pathlib.Path(__file__).with_suffix('.csv')

#: The oldest version that the drivers accept.
OLDEST = (4, 4, 2)

#: The comment of commands of the tests themselves, which are not checked.
OURS = 'zaqar-test'

#: Commands that end a transaction.
_ENDS = frozenset({'abortTransaction', 'commitTransaction'})

#: Writes, which may be retried by the client library.
_WRITES = frozenset({'delete', 'findAndModify', 'insert', 'update'})

#: Commands that take a writeConcern, and a readConcern.
_WITH_WRITE_CONCERN = _WRITES | _ENDS | {'createIndexes'}
_WITH_READ_CONCERN = frozenset({'aggregate', 'find'})

#: Options whose values are documents of options.
_NESTED = {
    'createIndexes.indexes',
    'delete.deletes',
    'lsid',
    'readConcern',
    'update.updates',
    'writeConcern',
}

#: Options whose values are filters, and updates.
_FILTERS = {
    'delete.deletes.q',
    'find.filter',
    'findAndModify.query',
    'update.updates.q',
}
_UPDATES = {'findAndModify.update', 'update.updates.u'}

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A command, or a part of one, in the reference.

    :ivar since: the version that has it first
    :ivar transactions: whether it may be in one
    """

    since: tuple[int, ...]
    transactions: bool


class Reference:
    """The table, and what of it was used."""

    def __init__(self, path: pathlib.Path = TABLE) -> None:
        with path.open(newline='') as file:
            self._rows = {
                (row['Kind'], row['Name']): Row(
                    tuple(map(int, row['Since'].split('.'))),
                    row['Transactions'] == 'yes',
                )
                for row in csv.DictReader(file)
            }
        self._used: set[tuple[str, str]] = set()

    @property
    def unused(self) -> Sequence[str]:
        """What no command has used so far."""
        return [
            f'{kind} {name}'
            for kind, name in self._rows
            if (kind, name) not in self._used
        ]

    def faults(self, command: Document, database: str) -> Iterator[str]:
        """Say what a server may refuse in a command."""
        name = next(iter(command))
        is_inside = 'autocommit' in command
        yield from self._known('command', name, is_inside)
        for option, value in command.items():
            if option == name:
                continue
            if ('option', f'any.{option}') in self._rows:
                yield from self._option(f'any.{option}', is_inside)
                if option in _NESTED:
                    yield from self._nested(option, value, is_inside)
            else:
                yield from self._part(f'{name}.{option}', value, is_inside)
        yield from _misplaced(name, command)
        if is_inside:
            yield from _refused_inside(name, command, database)
        elif 'txnNumber' in command and not _is_retryable(name, command):
            yield f'{name} is not retryable, but has a txnNumber'

    def _known(self, kind: str, name: str, is_inside: bool) -> Iterator[str]:
        row = self._rows.get((kind, name))
        self._used.add((kind, name))
        if row is None:
            yield f'{kind} {name} is not in the table'
        elif row.since > OLDEST:
            yield f'{kind} {name} is unknown to the oldest version'
        elif is_inside and not row.transactions:
            yield f'{kind} {name} in a transaction'

    def _option(self, name: str, is_inside: bool) -> Iterator[str]:
        return self._known('option', name, is_inside)

    def _part(self, name: str, value: Any, is_inside: bool) -> Iterator[str]:
        yield from self._option(name, is_inside)
        if name in _NESTED:
            yield from self._nested(name, value, is_inside)
        elif name in _FILTERS:
            yield from self._filter(value)
        elif name in _UPDATES:
            if not isinstance(value, Mapping):
                yield from self._option(f'{name} as a pipeline', is_inside)
            yield from self._update(value)
        elif name == 'aggregate.pipeline':
            yield from self._pipeline(value)
        elif name == 'readConcern.level':
            yield from self._option(f'{name}={value}', is_inside)
        elif name == 'insert.documents':
            yield from _bad_names(value)
        elif name in ('find.projection', 'findAndModify.fields'):
            yield from _bad_values(name, value, (0, 1))
        elif name == 'find.sort':
            yield from _bad_values(name, value, (-1, 1))
        elif name in ('find.limit', 'find.skip') and value < 0:
            yield f'{name} is negative'

    def _nested(self, name: str, value: Any, is_inside: bool) -> Iterator[str]:
        items = [value] if isinstance(value, Mapping) else value
        for item in items:
            for option, part in item.items():
                yield from self._part(f'{name}.{option}', part, is_inside)
            dotted = [key for key in item.get('q', ()) if '_id.' in key]
            if item.get('upsert') and dotted:
                yield f'{name}: an upsert with {dotted[0]}'

    def _filter(self, value: Any) -> Iterator[str]:
        """Check a condition: fields, operators, or both."""
        for name, part in value.items():
            if name.startswith('$'):
                yield from self._known('query', name, False)
            if isinstance(part, Mapping):
                yield from self._filter(part)

    def _update(self, value: Any) -> Iterator[str]:
        if isinstance(value, Mapping):
            for operator in value:
                yield from self._known('update', operator, False)
            return
        for stage in value:
            for name, fields in stage.items():
                yield from self._known('update stage', name, False)
                for part in fields.values():
                    yield from self._expression(part)

    def _pipeline(self, value: Any) -> Iterator[str]:
        for stage in value:
            for name, part in stage.items():
                yield from self._known('stage', name, False)
                if name == '$match':
                    yield from self._filter(part)
                elif name == '$group':
                    yield from self._group(part)
                elif name == '$unionWith':
                    yield from self._pipeline(part['pipeline'])
                elif name == '$sort':
                    yield from _bad_values(name, part, (-1, 1))

    def _group(self, value: Document) -> Iterator[str]:
        for field, part in value.items():
            if field == '_id':
                yield from self._expression(part)
                continue
            for name, argument in part.items():
                yield from self._known('accumulator', name, False)
                yield from self._expression(argument)

    def _expression(self, value: Any) -> Iterator[str]:
        if isinstance(value, Mapping):
            for name, part in value.items():
                if name.startswith('$'):
                    yield from self._known('expression', name, False)
                if name != '$literal':
                    yield from self._expression(part)
        elif isinstance(value, (list, tuple)):
            for part in value:
                yield from self._expression(part)
        elif isinstance(value, str) and value.startswith('$$'):
            yield from self._known('variable', value.split('.')[0], False)


def _misplaced(name: str, command: Document) -> Iterator[str]:
    """Say which options do not belong to this command."""
    if 'writeConcern' in command and name not in _WITH_WRITE_CONCERN:
        yield f'{name} with a writeConcern'
    is_first = command.get('startTransaction')
    if (
        'readConcern' in command
        and not is_first
        and name not in _WITH_READ_CONCERN
    ):
        yield f'{name} with a readConcern'
    level = command.get('readConcern', {}).get('level')
    if level == 'snapshot' and not is_first:
        yield f'{name} with a snapshot outside of a transaction'
    if name == 'getMore' and 'maxTimeMS' in command:
        yield 'getMore with maxTimeMS'
    if name == 'findAndModify' and command.get('remove'):
        yield from (
            f'findAndModify that removes, with {option}'
            for option in ('new', 'update', 'upsert')
            if command.get(option)
        )


def _refused_inside(
    name: str, command: Document, database: str
) -> Iterator[str]:
    """Say what is refused in a transaction."""
    if 'writeConcern' in command and name not in _ENDS:
        yield f'{name} with a writeConcern in a transaction'
    if 'readConcern' in command and not command.get('startTransaction'):
        yield f'{name} with a readConcern later in a transaction'
    mode = command.get('$readPreference', {}).get('mode', 'primary')
    if mode != 'primary':
        yield f'{name} with the read preference {mode} in a transaction'
    if command['autocommit'] is not False or 'txnNumber' not in command:
        yield f'{name} with an incomplete transaction'
    if database in ('admin', 'config', 'local') and name not in _ENDS:
        yield f'{name} on {database} in a transaction'
    if command.get('startTransaction') and name in {*_ENDS, 'getMore'}:
        yield f'{name} as the first command of a transaction'


def _is_retryable(name: str, command: Document) -> bool:
    """Tell whether a server takes a write with a number outside of one."""
    return (
        name in _WRITES
        and command.get('writeConcern', {}).get('w') != 0
        and not any(item.get('multi') for item in command.get('updates', ()))
        and all(item['limit'] == 1 for item in command.get('deletes', ()))
    )


def _bad_names(documents: Sequence[Document]) -> Iterator[str]:
    for document in documents:
        for name, value in document.items():
            if name.startswith('$') or '.' in name:
                yield f'insert with a field {name}'
            if isinstance(value, Mapping):
                yield from _bad_names([value])


def _bad_values(
    name: str, value: Document, good: Sequence[int]
) -> Iterator[str]:
    for field, part in value.items():
        if part not in good:
            yield f'{name} with {field}: {part}'


class Recorder(monitoring.CommandListener):
    """Checks the commands of all clients of this process.

    :ivar faults: what was found, each with the name of its command
    """

    def __init__(self) -> None:
        self.reference = Reference()
        self.faults: list[str] = []
        self._lock = threading.Lock()
        self._running: dict[bytes, int] = {}

    def started(self, event: Any) -> None:
        command = event.command
        if not command or command.get('comment') == OURS:
            return
        with self._lock:
            self.faults += self.reference.faults(command, event.database_name)
            if 'autocommit' in command:
                session = bytes(command['lsid']['id'])
                if session in self._running:
                    self.faults.append(
                        f'{event.command_name} while another command of its '
                        'transaction runs'
                    )
                self._running[session] = event.request_id

    def succeeded(self, event: Any) -> None:
        self._end(event)

    def failed(self, event: Any) -> None:
        self._end(event)

    def _end(self, event: Any) -> None:
        with self._lock:
            self._running = {
                session: request
                for session, request in self._running.items()
                if request != event.request_id
            }


RECORDER = Recorder()
monitoring.register(RECORDER)
