# SPDX-License-Identifier: Apache-2.0
"""Manage queues. One that does not exist reads as an empty one."""

import functools
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import msgspec

from zaqar.controllers import (
    dead_letter_source_index,
    flavors,
    metadata_json_patch,
    queue_existence_check,
    queue_statistics,
    reserved_metadata,
    subscription_records,
)
from zaqar.controllers.api_limits_and_defaults import page_size
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.name_validation import MAX_NAME
from zaqar.controllers.result_types import NamedQueue, QueuePage
from zaqar.errors import InvalidBody, InvalidRequest, NotFound
from zaqar.microversion_constants import V2_1
from zaqar.objects import Kind, Queue, Record, Scope
from zaqar.storage.record_updates_and_listing import repeat

#: Records read at a time while a filter is applied, and at first: nobody
#: knows yet how long they are.
BATCH = 200
FIRST_BATCH = 4

#: Records, and bytes of metadata, that one request reads to fill a page.
MOST_SCANNED = 10_000
MOST_BYTES = 256 << 10

#: What a purge can remove.
RESOURCE_TYPES = ('messages', 'subscriptions')


def list_(
    ctx: Context,
    *,
    marker: str | None,
    limit: int | None,
    detailed: bool | None,
    name: str | None,
    filters: Mapping[str, Sequence[str]],
    with_count: bool | None = None,
    prefix: str | None = None,
    dead_letter_queue: str | None = None,
    with_stats: bool | None = None,
    kind: Kind = Kind.QUEUE,
) -> QueuePage:
    """List the project's queues or topics by name, byte-wise ascending.

    :param marker: names strictly greater; need not exist
    :param name: only queues whose name contains it, literally
    :param filters: only queues whose metadata holds each key with that
        value, taken as an integer if it reads as one
    :param prefix: only queues whose name begins with it
    :param dead_letter_queue: only queues that have this one, by an index
    :param with_stats: add the statistics of each in short, by one more call
    :raises InvalidRequest: no queue can have that name
    :returns: a page that may be short, even empty, while it has a marker:
        a request reads a bounded amount of metadata
    """
    size = page_size(limit, ctx.limits.max_queues_per_page, 'no greater than')
    values = _filter_values(filters)
    chosen: list[Record] = []
    is_filtered = name is not None or bool(values)
    first = min(size, FIRST_BATCH) if is_filtered else size
    scan: _Scan | dead_letter_source_index.Scan
    if dead_letter_queue is None:
        scan = _Scan(ctx, kind, _cut(_later(marker, prefix)), first)
    else:
        letters = Scope(ctx.identity.project, dead_letter_queue, kind)
        scan = dead_letter_source_index.Scan(ctx, letters, _cut(marker))
    for record in scan.records():
        if prefix is not None and not record.name.startswith(prefix):
            if record.name > prefix:
                break
            continue
        if _matches(record, name, values):
            chosen.append(record)
            if len(chosen) == size:
                break
    lines = [_line(ctx, kind, record, bool(detailed)) for record in chosen]
    management = ctx.catalogue.management
    return QueuePage(
        kind,
        lines,
        {
            'marker': None,
            'limit': limit,
            'detailed': detailed,
            'name': name,
            **({} if with_count is None else {'with_count': with_count}),
            **({} if with_stats is None else {'with_stats': with_stats}),
            **({} if prefix is None else {'prefix': prefix}),
            **(
                {}
                if dead_letter_queue is None
                else {'dead_letter_queue': dead_letter_queue}
            ),
            **{key: texts[0] for key, texts in filters.items()},
        },
        management.count(kind, ctx.identity.project) if with_count else None,
        marker=scan.resume(lines),
        bytes_decoded=scan.bytes_decoded,
        counts=queue_statistics.of_page(ctx, kind, chosen)
        if with_stats
        else None,
        is_cut=scan.is_cut,
    )


def create(
    ctx: Context,
    *,
    scope: Scope,
    document: Mapping[str, Any] | None,
    adopt: bool | None = None,
) -> bool:
    """Create a queue; an existing one stays as it is.

    :param document: its metadata
    :param adopt: give it to an existing queue that has none, too, as posts
        create them
    :returns: whether it was created, or adopted
    """
    fields = document or {}
    fault = reserved_metadata.fault(fields, scope, ctx.limits, ctx.version)
    if fault is not None:
        raise InvalidRequest(fault)
    if not flavors.is_known(ctx, scope.project, fields.get('_flavor')):
        raise InvalidRequest(f'Flavor {fields["_flavor"]} does not exist')
    dead_letter_source_index.add(ctx, scope, fields)
    queue, is_new = ctx.catalogue.create(scope, fields)
    if is_new or not adopt or not fields:
        return is_new

    def attempt() -> bool | None:
        present = ctx.catalogue.read(scope)
        if present is None:
            return ctx.catalogue.create(scope, fields)[1]
        if present.metadata:
            return False
        return ctx.catalogue.update(present, fields) or None

    return not queue.metadata and repeat(attempt)


def show(
    ctx: Context, *, scope: Scope, existing: bool | None = None
) -> dict[str, Any]:
    """Return a queue's metadata, completed with defaults.

    :param existing: refuse a queue that does not exist
    :raises NotFound: it has to exist and does not
    """
    queue = ctx.catalogue.read(scope)
    if queue is None and existing:
        raise queue_existence_check.missing(scope)
    return _shown(ctx, queue.metadata if queue else {}, scope.kind)


def update(ctx: Context, *, scope: Scope, document: Any) -> dict[str, Any]:
    """Apply all of a patch to the metadata of a queue, or nothing.

    :param document: a patch, see :mod:`zaqar.controllers.metadata_json_patch`
    :returns: the metadata after it, completed with defaults
    :raises NotFound: the queue does not exist; it is not created
    """
    changes = metadata_json_patch.parse(document, ctx.version)

    def attempt() -> dict[str, Any] | None:
        queue = ctx.catalogue.read(scope)
        if queue is None:
            raise queue_existence_check.missing(scope)
        fields = metadata_json_patch.apply(
            changes,
            queue.metadata,
            reserved_metadata.reserved(scope.kind, ctx.version),
            reserved_metadata.unset(
                queue.metadata, scope.kind, ctx.limits, ctx.version
            ),
        )
        _check_result(ctx, scope, fields, {change.key for change in changes})
        _check_flavor(ctx, queue, fields)
        dead_letter_source_index.add(ctx, scope, fields, queue.metadata)
        if changes and not ctx.catalogue.update(queue, fields):
            return None
        return _shown(ctx, fields, scope.kind)

    return repeat(attempt)


def delete(ctx: Context, *, scope: Scope) -> None:
    """Delete a queue with its messages and claims; a missing one is fine."""
    ctx.catalogue.delete(scope)


def purge(
    ctx: Context,
    *,
    scope: Scope,
    document: Any,
    existing: bool | None = None,
) -> None:
    """Delete what a queue holds, but not the queue.

    :param document: ``{"resource_types": [...]}``, or None for all
    :param existing: refuse a queue that does not exist
    :raises NotFound: it has to exist and does not
    """
    types = _resource_types(document)
    if 'subscriptions' in types:
        subscription_records.clear(ctx, scope)
    if 'messages' not in types:
        return

    def empty(store: Any, queue: Queue) -> None:
        store.purge(queue.qid, now=store.clock.now())

    if existing:
        queue_existence_check.run(ctx, scope, empty)
    else:
        ctx.catalogue.run(scope, empty, None)


def _later(marker: str | None, prefix: str | None) -> str | None:
    """Return a marker after which no name with a prefix is missing.

    :param marker: another one, which may be later
    """
    if not prefix or not '!' < prefix[-1] < '~':
        return marker
    # Names hold no tilde, which follows all that they hold.
    before = f'{prefix[:-1]}{chr(ord(prefix[-1]) - 1)}~'
    return before if marker is None else max(marker, before)


def _cut(marker: str | None) -> str | None:
    """Return a marker that has the same names behind it."""
    if marker is None:
        return None
    # Not every store can compare this character, or so long a text. No name
    # holds it or is as long.
    return marker.partition('\0')[0][: MAX_NAME + 1]


def _filter_values(filters: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    for key, texts in filters.items():
        if len(texts) > 1 or ',' in texts[0]:
            raise InvalidRequest(
                f'The filter "{key}" must have exactly one value.'
            )
    return {key: _value(texts[0]) for key, texts in filters.items()}


def _value(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


class _Scan:
    """Reads the project's records from a marker on, as needed.

    :ivar bytes_decoded: of metadata so far
    :ivar is_cut: whether it stopped before the end, for its length
    """

    def __init__(
        self, ctx: Context, kind: Kind, marker: str | None, first: int
    ) -> None:
        self._list = functools.partial(
            ctx.catalogue.management.list, kind, ctx.identity.project
        )
        self._marker = marker
        self._batch = first
        self.bytes_decoded = 0
        self.is_cut = False

    def records(self) -> Iterator[Record]:
        """Yield records until the end, or until enough was read."""
        count = 0
        while not self.is_cut:
            records = self._list(after=self._marker, limit=self._batch)
            self.bytes_decoded += sum(
                len(msgspec.json.encode(one.data)) for one in records
            )
            yield from records
            if len(records) < self._batch:
                return
            self._marker = records[-1].name
            count += len(records)
            length = max(self.bytes_decoded, 1)
            # As many as the rest of the budget is likely to hold.
            room = (MOST_BYTES - length) * count // length
            self._batch = min(BATCH, MOST_SCANNED - count, room)
            self.is_cut = self._batch <= 0

    def resume(self, lines: Sequence[NamedQueue]) -> str | None:
        """Return where the next page begins, None after an empty last one."""
        if self.is_cut:
            return self._marker
        return lines[-1].name if lines else None


def _matches(
    record: Record, name: str | None, values: Mapping[str, Any]
) -> bool:
    if name is not None and name not in record.name:
        return False
    fields = record.data.get('metadata') or {}
    return all(
        key in fields and _same(fields[key], value)
        for key, value in values.items()
    )


def _same(stored: Any, value: int | str) -> bool:
    # In Python, unlike in JSON, True equals 1.
    return not isinstance(stored, bool) and bool(stored == value)


def _line(
    ctx: Context, kind: Kind, record: Record, detailed: bool
) -> NamedQueue:
    fields = record.data.get('metadata') or {}
    shown = _shown(ctx, fields, kind) if detailed else None
    return NamedQueue(record.name, shown)


def _shown(
    ctx: Context, fields: Mapping[str, Any], kind: Kind
) -> dict[str, Any]:
    return reserved_metadata.shown(fields, kind, ctx.limits, ctx.version)


def _check_result(
    ctx: Context, scope: Scope, fields: Mapping[str, Any], touched: Set[str]
) -> None:
    """Check metadata after a patch of some keys.

    From 2.1 on what is stored of other keys is not checked: it may have been
    stored under 2.0, where the key was a free one, or under other limits.
    """
    checked = fields
    if ctx.version >= V2_1:
        checked = {key: fields[key] for key in touched & fields.keys()}
    fault = reserved_metadata.fault(checked, scope, ctx.limits, ctx.version)
    if fault is None and (
        len(msgspec.json.encode(fields)) > ctx.limits.max_queue_metadata
    ):
        fault = (
            'Queue metadata is too large. Max size: '
            f'{ctx.limits.max_queue_metadata}'
        )
    if fault is not None:
        raise InvalidBody(fault)


def _check_flavor(
    ctx: Context, queue: Queue, fields: Mapping[str, Any]
) -> None:
    flavor = fields.get('_flavor')
    if flavor != queue.metadata.get('_flavor') and not flavors.is_known(
        ctx, queue.scope.project, flavor
    ):
        raise NotFound(f'Flavor {flavor} does not exist')


def _resource_types(document: Any) -> Sequence[str]:
    if document is None:
        return RESOURCE_TYPES
    if not isinstance(document, dict) or 'resource_types' not in document:
        raise InvalidRequest('Post body must contain key "resource_types".')
    types = document['resource_types']
    if not isinstance(types, list) or any(
        item not in RESOURCE_TYPES for item in types
    ):
        allowed = ', '.join(f"'{item}'" for item in RESOURCE_TYPES)
        raise InvalidRequest(
            f'Resource types must be a sub set of {{{allowed}}}.'
        )
    return types
