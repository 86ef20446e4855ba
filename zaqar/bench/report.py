# SPDX-License-Identifier: Apache-2.0
"""Figures of a run, as an object or as text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from zaqar.bench.request_durations import Durations
from zaqar.bench.worker_pool import WorkerResult

#: The call of roles that make only one.
_CALL = {'producer': 'post', 'observer': 'list'}


def summarize(
    results: Sequence[WorkerResult], params: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """Return the figures of each role, and the parameters.

    Durations with ``ms`` in their name, and the quantiles ``p50``, ``p95``,
    ``p99`` and ``p999``, are milliseconds; rates are per second.
    """
    answer: dict[str, Any] = {}
    for role in ('producer', 'observer', 'consumer'):
        own = [item for item in results if item.role == role]
        if own:
            figures = _consumer if role == 'consumer' else _single
            answer[role] = figures(role, own)
    answer['params'] = params
    return answer


def _single(role: str, results: Sequence[WorkerResult]) -> dict[str, Any]:
    seconds = _duration(results)
    calls = _merged(results, _CALL[role])
    return {
        'duration_sec': seconds,
        'total_reqs': calls.total,
        'successful_reqs': calls.successful,
        'reqs_per_sec': _rate(calls.successful, seconds),
        'ms_per_req': calls.mean_ms,
        **calls.quantiles_ms(),
        'errors': dict(calls.errors),
    }


def _consumer(role: str, results: Sequence[WorkerResult]) -> dict[str, Any]:
    seconds = _duration(results)
    claims = _merged(results, 'claim')
    deletes = _merged(results, 'delete')
    receipts = Durations.merge(item.statistics.receipts for item in results)
    successful = claims.successful + deletes.successful
    return {
        'duration_sec': seconds,
        'total_reqs': claims.total + deletes.total,
        'claim_total_requests': claims.total,
        'successful_reqs': successful,
        'messages_processed': sum(r.statistics.messages for r in results),
        'reqs_per_sec': _rate(successful, seconds),
        'ms_per_claim': claims.mean_ms,
        'ms_per_delete': deletes.mean_ms,
        'claim': dict(claims.quantiles_ms()),
        'delete': dict(deletes.quantiles_ms()),
        'post_to_receipt': dict(receipts.quantiles_ms()),
        'errors': dict(Counter(claims.errors) + Counter(deletes.errors)),
    }


def _merged(results: Sequence[WorkerResult], call: str) -> Durations:
    return Durations.merge(item.statistics.of(call) for item in results)


def _duration(results: Sequence[WorkerResult]) -> float:
    return max(item.seconds for item in results)


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds else 0.0


def text(figures: Mapping[str, Any]) -> str:
    """Return the figures as a table."""
    lines: list[str] = []
    for role, values in figures.items():
        lines += ['', role.capitalize(), '=' * len(role)]
        lines += [
            f'{name:22} {_shown(value)}' for name, value in values.items()
        ]
    return '\n'.join(lines[1:])


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return '  '.join(
            f'{key} {_shown(item)}' for key, item in value.items()
        )
    return f'{value:.2f}' if isinstance(value, float) else str(value)
