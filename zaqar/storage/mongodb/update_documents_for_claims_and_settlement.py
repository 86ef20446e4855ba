# SPDX-License-Identifier: Apache-2.0
"""Update documents and conditions that claim, free and settle messages."""

from typing import Any

from zaqar.objects import Act, Settlement
from zaqar.storage.mongodb import document_layout
from zaqar.storage.mongodb.claim_and_pop_parameters import ClaimTerms
from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.mongodb.queue_state_cache import CachedQueue


def live_messages(queue: CachedQueue, claim_id: str, now: int) -> Document:
    """Return the condition for live messages of a live claim."""
    return {
        'c': document_layout.claim_key(queue.key, claim_id),
        'h': {'$gt': now},
        'e': {'$gt': document_layout.date(now)},
    }


def lifetimes(terms: ClaimTerms) -> Document:
    """Return the change of lifetimes, as parts of a ``$set``."""
    dies = {'$lt': ['$e', document_layout.date(terms.end)]}
    raised = document_layout.date(terms.raised_end)
    return {
        't': {'$cond': [dies, terms.ttl + terms.grace, '$t']},
        'e': {'$cond': [dies, raised, '$e']},
    }


def claim_update(terms: ClaimTerms, guard: Document) -> list[Document]:
    change: Document = {
        'a': terms.end,
        'h': terms.end,
        'w': document_layout.place(terms.queue.key, terms.end),
        'c': terms.key,
        'ci': {'$literal': terms.claim_id},
        'ct': terms.ttl,
        'x': False,
        **dict.fromkeys(('f', 'd', 'g', 'pl'), '$$REMOVE'),
        **guard,
    }
    if terms.queue.grouped:
        change |= {'q': '$$REMOVE', 'y': _of_group('$og')}
    if terms.is_pop:
        return [{'$set': change}]
    change |= {**lifetimes(terms), 'n': {'$add': ['$n', 1]}}
    if terms.max_claims:
        is_exhausted = {'$gte': ['$n', terms.max_claims]}
        change |= {
            'x': is_exhausted,
            'n': {'$cond': [is_exhausted, '$n', change['n']]},
        }
    return [{'$set': change}]


def renew_update(terms: ClaimTerms) -> list[Document]:
    change = {
        'a': terms.end,
        'h': terms.end,
        'ct': terms.ttl,
        'w': document_layout.place(terms.queue.key, terms.end),
        **lifetimes(terms),
    }
    return [{'$set': change}]


def free_update(queue: CachedQueue, **more: Any) -> list[Document]:
    """Return the update of a message that no claim holds any more."""
    gone = dict.fromkeys(document_layout.CLAIM_FIELDS, '$$REMOVE')
    change: Document = {'a': 0, 'h': 0, 'f': '$k', **gone}
    if queue.grouped:
        change |= {
            'f': {'$cond': [_IN_GROUP, '$$REMOVE', '$k']},
            'q': _of_group('$k'),
        }
    return [{'$set': change | more}]


#: The condition, in an update, that a message has a group.
_IN_GROUP: Document = {'$eq': [{'$type': '$og'}, 'binData']}


def _of_group(value: str) -> Document:
    """Return a value that only messages with a group get."""
    return {'$cond': [_IN_GROUP, value, '$$REMOVE']}


def delay_update(
    queue: CachedQueue, end: int, more: Document
) -> list[Document]:
    """Return likewise that of one that is delayed until then."""
    wakes = document_layout.place(queue.key, end)
    delay = {'a': end, 'z': end, 'd': '$k', 'w': wakes, 'f': '$$REMOVE'}
    if queue.grouped:
        delay |= {'q': '$$REMOVE', 'y': _of_group('$og')}
    return free_update(queue, **delay, **more)


def settled_update(
    queue: CachedQueue, item: Settlement, now: int
) -> list[Document]:
    """Return the update of a message that is released or extended."""
    end = item.end(now)
    if item.act is Act.EXTEND:
        wakes = document_layout.place(queue.key, end)
        terms = ClaimTerms(queue, '', now, item.seconds, 0)
        change = {'a': end, 'h': end, 'w': wakes, **lifetimes(terms)}
        return [{'$set': change}]
    more: Document = {}
    if not item.failed:
        more['n'] = {'$max': [{'$add': ['$n', -1]}, 0]}
    if item.reason is not None:
        more['r'] = {'$literal': document_layout.encode(item.reason)}
    if item.seconds:
        return delay_update(queue, end, more)
    return free_update(queue, **more)
