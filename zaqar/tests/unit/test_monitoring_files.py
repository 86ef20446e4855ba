# SPDX-License-Identifier: Apache-2.0
"""The dashboard and the alerts that we ship, and the manual about them."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import re
from collections.abc import Iterable, Set
from typing import Any

import yaml

from zaqar.metric_definitions import METRICS
from zaqar.tests.servers import process

_ROOT = pathlib.Path(__file__).parents[3]
_ALERTS = _ROOT / 'etc/zaqar/prometheus-alerts.yaml'
_DASHBOARD = _ROOT / 'etc/zaqar/grafana-dashboard.json'
_MANUAL = _ROOT / 'doc/source/admin/monitoring.rst'

#: What each alert has.
_RULE = {'alert', 'expr', 'labels', 'annotations'}

#: What series of a histogram are called.
_HISTOGRAM = ('_seconds_bucket', '_seconds_count', '_seconds_sum')


def _series() -> Set[str]:
    """Return the names of all series."""
    names = {'zaqar_build_info'}
    for name, metric in METRICS.items():
        unit = '_seconds' if 'unit' in metric.options else ''
        match metric.kind:
            case 'Histogram':
                names |= {f'zaqar_{name}{end}' for end in _HISTOGRAM}
            case 'Counter':
                names.add(f'zaqar_{name}_total')
            case 'Gauge':
                names.add(f'zaqar_{name}{unit}')
    return names


def _labels() -> Set[str]:
    """Return the names of all labels."""
    own = {label for metric in METRICS.values() for label in metric.labels}
    return {*own, 'le', 'version', 'python'}


def _rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(_ALERTS.read_text())['groups']
    return list(group['rules'])


def _panels() -> list[str]:
    panels = json.loads(_DASHBOARD.read_text())['panels']
    return [each['expr'] for panel in panels for each in panel['targets']]


def _queried(queries: Iterable[str]) -> Set[str]:
    return set(re.findall(r'\bzaqar_[a-z_]+', ' '.join(queries)))


def test_queries_are_about_series_and_labels_that_there_are() -> None:
    queries = [*_panels(), *(rule['expr'] for rule in _rules())]
    assert _queried(queries) <= _series()
    text = ' '.join(queries)
    labels = re.findall(r'(\w+)=~?"', text)
    for grouped in re.findall(r'\bby \(([^)]*)\)', text):
        labels += grouped.split(', ')
    assert set(labels) <= _labels()


def test_the_dashboard_shows_every_metric() -> None:
    shown = _queried(_panels())
    stems = {re.sub(r'_seconds_\w+$', '', name) for name in shown}
    stems |= {re.sub(r'_(total|seconds)$', '', name) for name in shown}
    assert {f'zaqar_{name}' for name in METRICS} <= stems


def test_each_alert_is_explained() -> None:
    explained = re.findall(
        r'^``(Zaqar\w+)``, (\w+)\n((?:    .*\n)+)',
        _MANUAL.read_text(),
        re.MULTILINE,
    )
    assert [(name, severity) for name, severity, _ in explained] == [
        (rule['alert'], rule['labels']['severity']) for rule in _rules()
    ]
    for name, _, text in explained:
        assert re.search(r'\*Look\s+at\*', text), name
        assert '*Do*:' in text, name
    for rule in _rules():
        assert rule['annotations']['summary'], rule


def test_the_queries_can_be_parsed() -> None:
    if importlib.util.find_spec('promql_parser') is None:
        process.missing('promql-parser is not installed')
    import promql_parser

    for query in [*_panels(), *(rule['expr'] for rule in _rules())]:
        # Variables of Grafana stand for durations.
        promql_parser.parse(query.replace('$__rate_interval', '5m'))


def test_alerts_have_what_prometheus_reads_and_nothing_else() -> None:
    """As ``promtool check rules`` sees it."""
    rules = _rules()
    assert len({rule['alert'] for rule in rules}) == len(rules)
    for rule in rules:
        assert set(rule) <= {*_RULE, 'for'}, rule['alert']
        assert set(rule) >= _RULE, rule['alert']
        assert re.fullmatch(r'\d+[smh]', rule.get('for', '0s'))
        labels = set(re.findall(r'\$labels\.(\w+)', str(rule)))
        grouped = re.findall(r'\bby \(([^)]*)\)', rule['expr'])
        assert labels <= set(', '.join(grouped).split(', ')), rule['alert']
