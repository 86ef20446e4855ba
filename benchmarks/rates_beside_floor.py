# SPDX-License-Identifier: Apache-2.0
"""Requests per second of the service and of the floor."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks import load
from benchmarks.operations import Operation
from benchmarks.report import Table, quantile
from benchmarks.target import Target

#: Seconds of a slice; the service and the floor take turns. Shorter ones come
#: before, to warm up, and behind each, to find the cost.
SLICE = 0.5
ASIDE = 0.2

#: What is promised: at least this part of the floor's rate, and at most so
#: many seconds of processor time above the floor's, per request.
LEAST_RATIO = 0.5
MOST_CPU = 200e-6

#: Units per second that a first, uncounted slice finds in the queue, and how
#: many times the best rate so far the next one finds.
FIRST_SUPPLY = 2000
SPARE = 1.5

#: Answers that are compared before anything is measured.
ASKED = 2

HEAD = (
    'operation',
    'requests/s',
    'p50 ms',
    'p99 ms',
    'floor/s',
    'floor p50',
    'floor p99',
    'ratio',
    'CPU above floor',
    '',
)

#: What differs between two answers of the same length and meaning.
_VARIABLE = re.compile(rb'[0-9a-f]{32}|"age":\d+|marker=[0-9a-f]{16}')


@dataclass
class Side:
    """What was measured of the service, or of the floor.

    :ivar cpu: seconds of processor time of each request, asked one by one
    """

    port: int
    slices: list[load.Samples] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests per second in the middle one of all slices."""
        return statistics.median(item.rate for item in self.slices)

    def quantile(self, part: float) -> float:
        """Return the latency that a part of the requests stayed below."""
        latencies = (t for item in self.slices for t in item.latencies)
        return quantile(latencies, part)


@dataclass
class Measured:
    """An operation, measured."""

    operation: type[Operation]
    service: Side
    floor: Side

    @property
    def ratio(self) -> float:
        """The service's rate over the floor's."""
        return self.service.rate / self.floor.rate

    @property
    def cpu_above(self) -> float:
        """Seconds of processor time above the floor's, per request."""
        medians = (
            statistics.median(x.cpu) for x in (self.service, self.floor)
        )
        return next(medians) - next(medians)

    @property
    def is_low(self) -> bool:
        """Whether less than was promised was reached."""
        return self.operation.has_ratio and self.ratio < LEAST_RATIO

    @property
    def is_costly(self) -> bool:
        """Whether more than was promised was spent."""
        return self.operation.has_budget and self.cpu_above > MOST_CPU

    def row(self) -> Sequence[str]:
        """Return it as a row under :data:`HEAD`."""
        flags = ['LOW'] * self.is_low + ['COSTLY'] * self.is_costly
        if not self.operation.has_ratio:
            flags.append('(no ratio promised)')
        return (
            self.operation.title,
            *_figures(self.service),
            *_figures(self.floor),
            f'{self.ratio:.2f}',
            f'{self.cpu_above * 1e6:.0f} µs',
            ' '.join(flags),
        )


class Bench:
    """All operations on one database.

    :param seconds: of each operation, for the service and again for the floor
    :param connections: that ask at the same time
    """

    def __init__(
        self, target: Target, *, seconds: float, connections: int
    ) -> None:
        self._target = target
        self._connections = connections
        self._slice = min(SLICE, seconds)
        self._aside = min(ASIDE, self._slice / 2)
        self._pairs = max(1, round(seconds / self._slice))

    def measure(self, kind: type[Operation]) -> Measured:
        """Measure one operation."""
        operation = kind(self._target)
        service = Side(self._target.port)
        floor = Side(self._target.floor_port)
        _check_same(operation, service.port, floor.port)
        self._supply = int(FIRST_SUPPLY * self._slice)
        for side in (service, floor):
            self._turn(operation, side, self._aside, self._connections)
        for number in range(self._pairs):
            for side in (service, floor)[:: -1 if number % 2 else 1]:
                self._count(operation, side)
        return Measured(kind, service, floor)

    def _count(self, operation: Operation, side: Side) -> None:
        """Measure a slice: the rate first, then the cost."""
        many, _ = self._turn(operation, side, self._slice, self._connections)
        side.slices.append(many)
        # Threads that fight for Python's lock burn time that is not ours.
        single, cpu = self._turn(operation, side, self._aside, 1)
        side.cpu.append(cpu / max(1, len(single.latencies)))

    def _turn(
        self,
        operation: Operation,
        side: Side,
        seconds: float,
        connections: int,
    ) -> tuple[load.Samples, float]:
        """Return what a slice took, and its processor time."""
        operation.supply(self._supply)
        scripts = [operation.script() for _ in range(connections)]
        before = self._target.cpu_seconds(side.port)
        samples = load.run(side.port, scripts, seconds)
        cpu = self._target.cpu_seconds(side.port) - before
        needed = int(samples.rate * self._slice * SPARE)
        self._supply = max(self._supply, needed)
        return samples, cpu


def table(title: str, rows: Sequence[Measured]) -> Table:
    """Return what was measured as a table."""
    return Table(title, HEAD, [item.row() for item in rows])


def _figures(side: Side) -> Sequence[str]:
    return (
        f'{side.rate:.0f}',
        f'{side.quantile(0.5) * 1000:.2f}',
        f'{side.quantile(0.99) * 1000:.2f}',
    )


def _check_same(operation: Operation, *ports: int) -> None:
    """Complain about a floor that does not say what the service says.

    :raises WrongAnswerError: it does not
    """
    operation.supply(len(ports) * (ASKED + 1))
    answers = [_answers(operation, port) for port in ports]
    if answers[0] != answers[1]:
        raise load.WrongAnswerError(
            f'{operation.title}: the service and the floor differ:\n'
            f'{answers[0]!r}\n{answers[1]!r}'
        )


def _answers(operation: Operation, port: int) -> list[bytes]:
    """Return the answers to the first requests, without what varies."""
    connection = load.Connection(port)
    script = operation.script()
    step, answers = next(script), []
    for _ in range(ASKED):
        body = connection.exchange(step)
        answers.append(_VARIABLE.sub(b'?', body))
        step = script.send(body)
    connection.close()
    return answers
