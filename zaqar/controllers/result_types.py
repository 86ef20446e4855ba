# SPDX-License-Identifier: Apache-2.0
"""Results of controller functions, which the transports present."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from zaqar.controllers.delivery_attempt_history import Attempt
from zaqar.controllers.message_flow_estimates import Rates
from zaqar.objects import Claim, Kind, Message, Stats, Subscription

Item = TypeVar('Item')


class NamedQueue(msgspec.Struct, frozen=True):
    """A queue of a list; metadata as shown, None without details."""

    name: str
    metadata: Mapping[str, Any] | None


class QueuePage(msgspec.Struct, frozen=True):
    """A page of queues or topics.

    :ivar again: the query of the page, to be repeated with a marker
    :ivar count: all queues of the project, None if not requested
    :ivar marker: where the next page begins, None after an empty last one
    :ivar bytes_decoded: of metadata that was read to select the queues
    :ivar counts: the statistics of each queue, None where its store does not
        answer; None if not requested
    :ivar is_cut: whether it is short because one request reads no more; a
        short one that is not is the last one
    """

    kind: Kind
    queues: Sequence[NamedQueue]
    again: Mapping[str, Any]
    count: int | None = None
    marker: str | None = None
    bytes_decoded: int = 0
    counts: 'Sequence[Counted | None] | None' = None
    is_cut: bool = False


class MessagePage(msgspec.Struct, frozen=True):
    """A page of messages, or messages requested by id.

    :ivar again: the query of the page, to be repeated with a marker
    :ivar marker: where the next page begins, None without a next page
    """

    messages: Sequence[Message]
    now: int
    again: Mapping[str, Any] | None = None
    marker: str | None = None


class OneMessage(msgspec.Struct, frozen=True):
    """A message and the moment it was read."""

    message: Message
    now: int


class Posted(msgspec.Struct, frozen=True):
    """Ids of new messages, in posting order.

    :ivar is_replayed: the post repeats another one, by its key
    """

    ids: Sequence[str]
    is_replayed: bool = False


class Popped(msgspec.Struct, frozen=True):
    """Messages that were removed from the queue."""

    messages: Sequence[Message]
    now: int


class Claimed(msgspec.Struct, frozen=True):
    """A claim as it stood at ``now``."""

    claim: Claim
    now: int


class Counted(msgspec.Struct, frozen=True):
    """The statistics of a queue, if it exists, as they stood at ``now``.

    :ivar created_at: of the queue, as ``changed_at`` of its metadata; 0 where
        it is not known
    """

    stats: Stats
    now: int
    rates: Rates
    exists: bool = True
    created_at: int = 0
    changed_at: int = 0


class StartedRedrive(msgspec.Struct, frozen=True):
    """A redrive that notifiers will work on."""

    id: str


class DryRun(msgspec.Struct, frozen=True):
    """What a redrive would move.

    :ivar complete: whether the whole queue was looked at, or enough for the
        limit of the redrive
    """

    matched: int
    scanned: int
    complete: bool


class Subscribed(msgspec.Struct, frozen=True):
    """A subscription that was requested.

    :ivar secret: the key that the service has made for it, None if there is
        another one, or it was there before
    """

    id: str
    secret: str | None = None


class SubscriptionPage(msgspec.Struct, frozen=True):
    """A page of subscriptions.

    :ivar again: the query of the page, to be repeated with a marker
    :ivar marker: where the next page begins, None after an empty last one
    """

    subscriptions: Sequence[Subscription]
    again: Mapping[str, Any]
    now: int
    marker: str | None = None


class AttemptPage(msgspec.Struct, frozen=True):
    """A page of attempts to deliver messages.

    :ivar again: the query of the page, to be repeated with a marker
    :ivar marker: where the next page begins, None after an empty last one
    """

    attempts: Sequence[Attempt]
    again: Mapping[str, Any]
    marker: str | None = None


class Detailed(msgspec.Struct, Generic[Item], frozen=True):
    """A pool or flavor, and whether all of it is shown."""

    item: Item
    detailed: bool


class DetailedPage(msgspec.Struct, Generic[Item], frozen=True):
    """A page of pools or flavors.

    :ivar again: the query of the page, to be repeated with a marker
    """

    items: Sequence[Item]
    detailed: bool
    again: Mapping[str, Any]
