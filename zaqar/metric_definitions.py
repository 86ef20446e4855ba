# SPDX-License-Identifier: Apache-2.0
"""The definitions of all metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Metric:
    """What a metric is.

    :ivar labels: their names, in the order of their values
    :ivar options: of its class in prometheus_client
    """

    kind: Literal['Counter', 'Gauge', 'Histogram']
    help: str
    labels: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


#: Histograms in seconds, of calls and of attempts to deliver.
_CALLS: Mapping[str, Any] = {
    'unit': 'seconds',
    'buckets': (
        *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
        *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    ),
}
_ATTEMPTS: Mapping[str, Any] = {
    'unit': 'seconds',
    'buckets': (0.005, 0.02, 0.1, 0.5, 2, 5, 15, 30),
}

#: From posts to deliveries, which may have been retried for hours.
_LATENCY: Mapping[str, Any] = {
    'unit': 'seconds',
    'buckets': (0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30, 300, 3600),
}

#: How gauges of several processes make one. All notifiers see the same
#: store: the last to look is right.
_SUM: Mapping[str, Any] = {'multiprocess_mode': 'livesum'}
_LAST: Mapping[str, Any] = {'multiprocess_mode': 'livemostrecent'}

#: All there are, without the prefix, unit and suffix of Prometheus.
METRICS: Mapping[str, Metric] = {
    'request': Metric(
        'Histogram',
        'Operations that clients have asked for.',
        ('operation', 'status'),
        _CALLS,
    ),
    'refused_requests': Metric(
        'Counter', 'Requests refused before their operation.', ('status',)
    ),
    'store_call': Metric(
        'Histogram',
        'Calls of stores.',
        ('plane', 'driver', 'call', 'result'),
        _CALLS,
    ),
    'messages': Metric(
        'Counter',
        'Messages that calls of stores have moved.',
        ('driver', 'pool', 'how'),
    ),
    'top_projects': Metric(
        'Gauge',
        'What the projects that do most did in the last minute.',
        ('kind', 'project'),
        _SUM,
    ),
    'quota_rejections': Metric(
        'Counter', 'Requests that would exceed a quota.', ('resource',)
    ),
    'connections': Metric('Gauge', 'Open WebSocket connections.', (), _SUM),
    'streams': Metric('Gauge', 'Open streams of messages.', (), _SUM),
    'waiting_requests': Metric(
        'Gauge', 'Requests that wait for messages.', (), _SUM
    ),
    'notification_deliveries': Metric(
        'Counter',
        'Attempts to tell a subscriber, and what came of them.',
        ('scheme', 'outcome'),
    ),
    'notification_attempt': Metric(
        'Histogram', 'How long attempts took.', ('scheme',), _ATTEMPTS
    ),
    'notification_latency': Metric(
        'Histogram',
        'Time from posts to the delivery of their messages.',
        ('scheme',),
        _LATENCY,
    ),
    'notification_notices': Metric(
        'Counter', 'Posts and questions of which deliveries were made.'
    ),
    'notification_dead_letters': Metric(
        'Counter', 'Deliveries given up, put into a queue or not.', ('stored',)
    ),
    'notification_unreadable': Metric(
        'Counter',
        'Times that a record of an outbox could not be read and was put back.',
    ),
    'notification_waiting': Metric(
        'Gauge',
        'Deliveries and notices in a store, whoever works on them.',
        ('pool',),
        _LAST,
    ),
    'notification_oldest': Metric(
        'Gauge',
        'Age of the oldest of them.',
        ('pool',),
        {'unit': 'seconds', **_LAST},
    ),
    'notification_held': Metric(
        'Gauge', 'Deliveries that are held, to send them.', (), _SUM
    ),
    'notification_open_circuits': Metric(
        'Gauge', 'Hosts that are tried once a minute.', (), _SUM
    ),
}
