# SPDX-License-Identifier: Apache-2.0
"""Rates of several workers and pools, forecast and measured in turns.

What one worker on one store takes of each part of the machine tells how many
requests a second the part admits.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import statistics
from collections.abc import Mapping, Sequence

from benchmarks import core_shares, costs, databases, report
from benchmarks.deployment import (
    API,
    CLIENT,
    STORE,
    Deployment,
    Slice,
    deployed,
)

#: How far a measured rate may be off its forecast.
TOLERANCE = 0.2

#: Operations that are checked.
CHECKED = ('post 1', 'list 10', 'claim 5 + delete')

#: What all parts share where they are measured.
MACHINE = 'all cores'


def limits(
    known: Slice,
    workers: int,
    stores: int,
    others: float,
    *,
    is_whole: bool = True,
) -> Mapping[str, float]:
    """Return the requests a second that each part of this machine admits.

    The client is a part, too: it is on the same machine, and has one thread.

    :param known: of one worker on one store
    :param others: cores that other work of the machine takes
    :param is_whole: whether each worker may use a whole core; otherwise it
        uses as much as that one has
    """
    cpu = known.cpu
    # A worker is one core, and what its threads do beside it.
    worker = max(float(is_whole), known.rate * cpu[API])
    cores = (os.cpu_count() or 1) - others
    return {
        API: workers * worker / cpu[API],
        STORE: stores / cpu[STORE],
        CLIENT: 1 / cpu[CLIENT],
        MACHINE: cores / sum(cpu.values()),
    }


def forecast(known: Slice, workers: int, stores: int, others: float) -> float:
    """Return the requests a second of a deployment; see :func:`limits`."""
    return min(limits(known, workers, stores, others).values())


def checked(
    stores: Sequence[databases.Source],
    folder: pathlib.Path,
    options: argparse.Namespace,
) -> report.Table:
    """Return forecasts beside what is measured, in turns.

    :raises core_shares.UnavailableError: workers cannot be limited here
    """
    head = ('operation', 'deployment', 'limit', 'CPU µs of one worker')
    head += ('CPU µs', 'forecast/s', 'rate/s', 'ratio', '')
    table = report.Table(f'Forecasts, {stores[0].title}', head)
    shapes = {
        'one worker': (1, 1),
        'two workers': (2, 1),
        'two workers, three pools': (2, 3),
    }
    with contextlib.ExitStack() as stack:
        sides = {
            name: stack.enter_context(
                deployed(
                    folder / f'{workers}-{count}',
                    stores[:count],
                    workers=workers,
                )
            )
            for name, (workers, count) in shapes.items()
        }
        for deployment in sides.values() if options.share else ():
            stack.enter_context(
                core_shares.limited(deployment.pids(API), options.share)
            )
        for operation in CHECKED:
            table.rows += _compared(operation, shapes, sides, options)
    return table


def _compared(
    operation: str,
    shapes: Mapping[str, tuple[int, int]],
    sides: Mapping[str, Deployment],
    options: argparse.Namespace,
) -> Sequence[Sequence[str]]:
    """Return the rows of an operation."""
    pairs: dict[str, list[tuple[Slice, Slice]]] = {}
    for number in range(-1, options.rounds):
        slices = {
            name: side.turn(
                costs.OPERATIONS[operation],
                options.connections,
                options.seconds,
            )
            for name, side in sides.items()
        }
        base, *others = slices.items()
        for name, one in others if number >= 0 else ():
            pairs.setdefault(name, []).append((base[1], one))
    return [
        _compared_shape(
            operation,
            name,
            shapes[name],
            both,
            is_whole=not options.share,
        )
        for name, both in pairs.items()
    ]


def _compared_shape(
    operation: str,
    name: str,
    shape: tuple[int, int],
    pairs: Sequence[tuple[Slice, Slice]],
    *,
    is_whole: bool,
) -> Sequence[str]:
    """Return the row of a deployment."""
    middle = statistics.median
    bounds = [
        limits(base, *shape, one.others, is_whole=is_whole)
        for base, one in pairs
    ]
    names = [min(each, key=lambda part: each[part]) for each in bounds]
    ratio = middle(
        one.rate / min(each.values())
        for each, (_, one) in zip(bounds, pairs, strict=True)
    )
    cpu = [
        middle(sum(side.cpu.values()) for side in sides)
        for sides in zip(*pairs, strict=True)
    ]
    return (
        operation,
        name,
        statistics.mode(names),
        *(f'{seconds * 1e6:.0f}' for seconds in cpu),
        f'{middle(min(each.values()) for each in bounds):,.0f}',
        f'{middle(one.rate for _, one in pairs):,.0f}',
        f'{ratio:.2f}',
        'OFF' if abs(ratio - 1) > TOLERANCE else '',
    )
