# SPDX-License-Identifier: Apache-2.0
"""The tables of the sizing guide that ``capacity`` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks import needs
from benchmarks.costs import DELIVERY, PUSH
from benchmarks.deployment import API, NOTIFIER, SOCKETS, STORE
from benchmarks.needs import FILL, LIVES, RECORDS, Costs, Load
from benchmarks.report import Table

#: Messages a second, and queues in use, with their names.
RATES: Mapping[str, float] = {'10⁵': 1e5, '10⁶': 1e6}
QUEUES: Mapping[str, float] = {'10³': 1e3, '10⁷': 1e7}

#: How the lives of messages are called.
_WORDS = {'one': 'one by one', 'ten': 'by ten'}

#: What a part may do all the time: the operation, and its name.
_DOES: Sequence[tuple[str, str, str]] = (
    (API, 'post 1', 'posts of one message'),
    (API, 'post 10', 'posts of ten messages'),
    (API, 'list 10', 'pages of ten messages'),
    (STORE, 'post 1', 'posts of one message'),
    (STORE, 'post 10', 'posts of ten messages'),
    (STORE, 'list 10', 'pages of ten messages'),
    (STORE, 'show', 'look-ups of queues'),
    (NOTIFIER, DELIVERY, 'deliveries to webhooks'),
    (NOTIFIER, PUSH, 'pushes to WebSockets'),
    (SOCKETS, PUSH, 'pushes to WebSockets'),
)


def of_messages(known: Costs, store_cores: float) -> Table:
    """Return how many of each part some rates of messages need."""
    head, columns = ['Messages a second'], []
    for rate, messages in RATES.items():
        for life in LIVES:
            head.append(f'{rate}, {_WORDS[life]}')
            columns.append(_column(known, messages, life, store_cores))
    rows = [
        (name, *(column[name] for column in columns)) for name in columns[0]
    ]
    return Table('What messages need', head, rows)


def _column(
    known: Costs, messages: float, life: str, store_cores: float
) -> Mapping[str, str]:
    load = Load(messages, life)
    needed = needs.of_load(known, load, store_cores)
    counts = {need.part: need.count for need in needed}
    to_clients, _ = needs.traffic(known, load)
    asked = needs.requests(load.rates())
    return {
        'API workers (cores)': f'{counts[API]:,}',
        'pools, each a store': f'{counts[STORE]:,}',
        'network to clients': f'{to_clients * 8e-9:.1f} Gbit/s',
        **{
            f'look-ups a second, {name} queues': _rounded(
                needs.record_reads(asked, queues, counts[API])
            )
            for name, queues in QUEUES.items()
        },
    }


def limits(known: Costs, store_cores: float) -> Table:
    """Return what one of each part can do in a second.

    It is busy for :data:`benchmarks.needs.FILL` of its time with it alone.
    """
    room = {API: 1.0, NOTIFIER: 1.0, SOCKETS: 1.0, STORE: store_cores}
    rows = [
        (part, words, _rounded(FILL * room[part] / known[name].cpu[part]))
        for part, name, words in _DOES
    ]
    look_ups = FILL * store_cores / known['show'].cpu[STORE]
    for life, words in _WORDS.items():
        messages = _of_records(known, look_ups, life, store_cores)
        rows.append(
            (
                RECORDS,
                f'messages in 10⁷ queues, {words}',
                _rounded(messages),
            )
        )
    return Table(
        f'What one carries, busy for {FILL:.0%} of its time',
        ('One', 'carries', 'a second'),
        rows,
    )


def _of_records(
    known: Costs, look_ups: float, life: str, store_cores: float
) -> float:
    """Return the messages a second in 10⁷ queues that make some look-ups."""
    messages = look_ups
    for _ in range(20):
        load = Load(messages, life, queues=1e7)
        needed = needs.of_load(known, load, store_cores)
        (workers,) = (need.count for need in needed if need.part == API)
        asked = needs.requests(load.rates())
        made = needs.record_reads(asked, load.queues, workers)
        messages *= look_ups / made
    return messages


def _rounded(value: float) -> str:
    """Return a figure with the two digits that hold on another machine."""
    return f'{float(f"{value:.2g}"):,.0f}'
