# SPDX-License-Identifier: Apache-2.0
"""Representations of resources for all transports; HTTP adds links."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from zaqar.controllers import message_attribute_codec, message_extras_codec
from zaqar.controllers.configured_quotas import UNLIMITED
from zaqar.controllers.delivery_attempt_history import Attempt
from zaqar.controllers.flavors import Flavor
from zaqar.controllers.message_explanations import Explanation
from zaqar.controllers.message_extras_codec import DeadLetter
from zaqar.controllers.project_quotas import ProjectQuotas
from zaqar.controllers.queue_guarantees import QueueGuarantees
from zaqar.controllers.redrive_records import Redrive
from zaqar.controllers.result_types import (
    Counted,
    DryRun,
    QueuePage,
    StartedRedrive,
    Subscribed,
)
from zaqar.controllers.subscription_signing_keys import Key
from zaqar.microversion_constants import V2_1, Version
from zaqar.objects import (
    Claim,
    Kind,
    Message,
    MessageSpan,
    Scope,
    Subscription,
)
from zaqar.pools.pool_records import Pool
from zaqar.rfc3339_formatting import in_seconds, timestamp

#: Embeds a body, which is stored as JSON text, into a document.
Embed = Callable[[bytes], Any]

_DRIVER_IS_SILENT = 'The driver of this store does not tell.'


def health_status(report: Mapping[str, Any]) -> int:
    """Return 503 if the catalogue is unreachable, for probes."""
    return 503 if report.get('catalog_reachable') is False else 200


def age(since: int, now: int) -> int:
    """Return the whole seconds between two times."""
    return (now - since) // 1000 if now > since else 0


def lifetime(claim: Claim, now: int) -> tuple[int, int]:
    """Return ttl and age of a claim; the difference is what is left of it.

    A hold that was extended may last for longer than the ttl of the claim.
    """
    ttl = max(claim.ttl, (claim.expires_at - now) // 1000)
    return ttl, age(claim.expires_at - ttl * 1000, now)


def content(
    item: Message, now: int, version: Version, embed: Embed = msgspec.Raw
) -> dict[str, Any]:
    document: dict[str, Any] = {
        'ttl': item.ttl,
        # As age() says, which would be called for each message.
        'age': (now - item.created_at) // 1000 if now > item.created_at else 0,
        'body': embed(item.body),
    }
    if item.checksum is not None:
        document['checksum'] = item.checksum
    if version >= V2_1:
        document['created_at'] = timestamp(item.created_at)
        document['claim_count'] = item.claim_count
        if item.visible_at is not None:
            document['visible_at'] = timestamp(item.visible_at)
        if item.group is not None:
            document['group'] = item.group
        if item.extras is not None:
            document |= beside(item.extras)
    return document


def beside(data: bytes) -> dict[str, Any]:
    """Return what is stored beside a body, by the names of its members."""
    extras = message_extras_codec.read(data)
    shown: dict[str, Any] = {}
    if extras.attributes is not None:
        shown['attributes'] = message_attribute_codec.read_attributes(
            extras.attributes
        )
    if extras.dead_letter is not None:
        shown['dead_letter'] = dead_letter(extras.dead_letter)
    if extras.dedup_id is not None:
        shown['dedup_id'] = extras.dedup_id
    return shown


def dead_letter(letter: DeadLetter) -> dict[str, Any]:
    return {
        'queue': letter.queue,
        'reason': letter.reason,
        'claim_count': letter.claim_count,
        'at': timestamp(letter.at),
    }


def popped(
    item: Message, now: int, version: Version, embed: Embed = msgspec.Raw
) -> dict[str, Any]:
    return {
        'id': item.id,
        **content(item, now, version, embed),
        'claim_id': None,
        'claim_count': item.claim_count,
    }


def statistics(
    counted: Counted,
    scope: Scope,
    version: Version,
    shown: Callable[[MessageSpan], Any],
) -> dict[str, Any]:
    """Return the statistics of a queue or topic.

    :param shown: represents one of its ends
    """
    stats = counted.stats
    document: dict[str, Any] = {'messages': _counts(counted, scope, shown)}
    if version >= V2_1 and scope.kind is Kind.QUEUE:
        document['messages'] |= {
            'delayed': stats.delayed,
            'held_by_groups': stats.held_by_groups,
        }
        start = stats.oldest_free_at
        document['oldest_free_age'] = (
            None if start is None else age(start, counted.now)
        )
        document['rates'] = {
            'posted': counted.rates.posted,
            'deleted': counted.rates.deleted,
        }
    return document


def short_statistics(counted: Counted | None) -> dict[str, Any] | None:
    """Return what a list shows of the statistics of a queue."""
    if counted is None:
        return None
    stats = counted.stats
    start = stats.oldest_free_at
    return {
        'messages': {
            'claimed': stats.claimed,
            'free': stats.free,
            'total': stats.total,
            'delayed': stats.delayed,
        },
        'oldest_free_age': None if start is None else age(start, counted.now),
        'rates': msgspec.structs.asdict(counted.rates),
    }


def with_statistics(items: Sequence[dict[str, Any]], page: QueuePage) -> None:
    """Add to the queues of a page what it has of their statistics."""
    if page.counts is not None:
        for item, counted in zip(items, page.counts, strict=True):
            item['stats'] = short_statistics(counted)


def _counts(
    counted: Counted, scope: Scope, shown: Callable[[MessageSpan], Any]
) -> dict[str, Any]:
    stats = counted.stats
    counts: dict[str, Any] = {
        'claimed': stats.claimed,
        'free': stats.free,
        'total': stats.total,
    }
    if scope.kind is Kind.TOPIC and counted.exists:
        # Nothing of a topic can be claimed.
        counts = {'total': stats.total}
    for name, span in (('oldest', stats.oldest), ('newest', stats.newest)):
        if span is not None and stats.total:
            counts[name] = shown(span)
    return counts


def moment(span: MessageSpan, now: int) -> dict[str, Any]:
    """Return the age of one end of a queue."""
    return {
        'age': age(span.created_at, now),
        'created': in_seconds(span.created_at),
    }


def guarantees(result: QueueGuarantees) -> dict[str, Any]:
    """Return what a queue promises."""
    known = result.checked.guarantees
    return {
        'order': known.order if known else None,
        'delivery': 'at-least-once',
        'claims': 'exclusive',
        'dedup_window': result.dedup_window,
        'acknowledged_survives': {
            # Nothing is acknowledged before the store has it.
            'process_kill': True,
            'store_kill': known.store_kill if known else None,
            'failover': known.failover if known else None,
        },
        'because': known.because if known else [_DRIVER_IS_SILENT],
        'store': known.store if known else None,
        'checked_at': timestamp(result.checked.at),
    }


def explanation(result: Explanation) -> dict[str, Any]:
    """Return why a message is handed out and listed, or is not."""
    message = result.message
    claim = None
    if message and message.claim_id and message.claim_ends_at:
        claim = {
            'id': message.claim_id,
            'ends_at': timestamp(message.claim_ends_at),
        }
    return {
        'state': result.state,
        'listed': result.listed,
        'claimable': result.claimable,
        'because': result.because,
        'claim': claim,
        'claim_count': message.claim_count if message else 0,
        'group': message.group if message else None,
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


def subscribed(result: Subscribed, version: Version) -> dict[str, Any]:
    document = {'subscription_id': result.id}
    if version >= V2_1 and result.secret is not None:
        document['secret'] = result.secret
    return document


def attempt(item: Attempt) -> dict[str, Any]:
    """Return an attempt to deliver a message."""
    next_at = item.next_at
    return {
        'id': item.id,
        'at': timestamp(item.at),
        'attempt': item.attempt,
        'outcome': item.outcome,
        'http_status': item.http_status,
        'duration_ms': item.duration_ms,
        'error': item.error or None,
        'next_attempt_at': None if next_at is None else timestamp(next_at),
    }


def key(item: Key) -> dict[str, Any]:
    """Return the key of a subscription."""
    until = item.former_until
    return {
        'secret': item.secret,
        'former_until': None if until is None else timestamp(until),
    }


def redrive(item: Redrive) -> dict[str, Any]:
    ended_at = item.ended_at
    return {
        'redrive_id': item.id,
        'status': item.status,
        'to': item.to,
        'moved': item.moved,
        'matched': item.matched,
        'limit': item.limit,
        'rate': item.rate,
        'started_at': timestamp(item.started_at),
        'ended_at': None if ended_at is None else timestamp(ended_at),
        'error': item.error,
    }


def redrives(items: Sequence[Redrive]) -> dict[str, Any]:
    return {'redrives': [redrive(item) for item in items]}


def new_redrive(result: StartedRedrive | DryRun) -> tuple[int, dict[str, Any]]:
    """Return status and document of a request for a redrive."""
    if isinstance(result, StartedRedrive):
        return 202, {'redrive_id': result.id}
    return 200, msgspec.structs.asdict(result)


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


def quotas(result: ProjectQuotas) -> dict[str, Any]:
    return {
        'project_id': result.project,
        'quotas': {
            name: {'limit': result.limits.get(name, UNLIMITED), 'usage': used}
            for name, used in result.usage.items()
        },
    }
