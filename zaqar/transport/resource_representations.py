# SPDX-License-Identifier: Apache-2.0
"""Representations of resources for all transports; HTTP adds links."""

import datetime
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from zaqar.api_versions import V2_1, Version
from zaqar.controllers.flavors import Flavor
from zaqar.controllers.result_types import Counted
from zaqar.models import Kind, Message, MessageSpan, Scope, Subscription
from zaqar.pools.pool_records import Pool

#: Embeds a body, which is stored as JSON text, into a document.
Embed = Callable[[bytes], Any]


def health_status(report: Mapping[str, Any]) -> int:
    """Return 503 if the catalogue is unreachable, for probes."""
    return 503 if report.get('catalog_reachable') is False else 200


def age(since: int, now: int) -> int:
    """Return the whole seconds between two times."""
    return max(0, now - since) // 1000


def content(
    item: Message, now: int, version: Version, embed: Embed = msgspec.Raw
) -> dict[str, Any]:
    document: dict[str, Any] = {
        'ttl': item.ttl,
        'age': age(item.created_at, now),
        'body': embed(item.body),
    }
    if item.checksum is not None:
        document['checksum'] = item.checksum
    if version >= V2_1:
        document['created_at'] = timestamp(item.created_at)
        document['claim_count'] = item.claim_count
        if item.visible_at is not None:
            document['visible_at'] = timestamp(item.visible_at)
    return document


def timestamp(moment: int) -> str:
    """Return a time in UTC, as RFC 3339 writes it."""
    time = datetime.datetime.fromtimestamp(moment // 1000, datetime.UTC)
    return f'{time:%Y-%m-%dT%H:%M:%S}.{moment % 1000:03d}Z'


def popped(
    item: Message, now: int, version: Version, embed: Embed = msgspec.Raw
) -> dict[str, Any]:
    return {
        'id': item.id,
        **content(item, now, version, embed),
        'claim_id': None,
        'claim_count': item.claim_count,
    }


def counts(
    counted: Counted, scope: Scope, shown: Callable[[MessageSpan], Any]
) -> dict[str, Any]:
    """Return the statistics of a queue or topic."""
    stats = counted.stats
    statistics: dict[str, Any] = {
        'claimed': stats.claimed,
        'free': stats.free,
        'total': stats.total,
    }
    if scope.kind is Kind.TOPIC and counted.exists:
        # Nothing of a topic can be claimed.
        statistics = {'total': stats.total}
    for name, span in (('oldest', stats.oldest), ('newest', stats.newest)):
        if span is not None and stats.total:
            statistics[name] = shown(span)
    return statistics


def moment(span: MessageSpan, now: int) -> dict[str, Any]:
    """Return the age of one end of a queue."""
    seconds = span.created_at // 1000
    created = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return {
        'age': age(span.created_at, now),
        'created': created.strftime('%Y-%m-%dT%H:%M:%SZ'),
    }


def subscription(item: Subscription, now: int) -> dict[str, Any]:
    return {
        'id': item.id,
        'source': item.scope.name,
        'subscriber': item.subscriber,
        'ttl': item.ttl,
        'age': age(item.created_at, now),
        'options': item.options,
        'confirmed': item.confirmed,
    }


def pool(item: Pool, detailed: bool) -> dict[str, Any]:
    shown = {
        'name': item.name,
        'uri': item.uri,
        'weight': item.weight,
        'flavor': item.flavor,
    }
    return {**shown, 'options': item.options} if detailed else shown


def flavor(item: Flavor, detailed: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {'name': item.name, 'pool_list': item.pools}
    if detailed:
        shown['capabilities'] = item.capabilities
    return shown
