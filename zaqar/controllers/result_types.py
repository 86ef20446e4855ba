# SPDX-License-Identifier: Apache-2.0
"""Results of controller functions, which the transports present."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from zaqar.models import Claim, Kind, Message, Stats, Subscription

Item = TypeVar('Item')


@dataclass(frozen=True, slots=True)
class NamedQueue:
    """A queue of a list; metadata as shown, None without details."""

    name: str
    metadata: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class QueuePage:
    """A page of queues or topics.

    :ivar again: the query of the page, to be repeated with a marker
    :ivar count: all queues of the project, None if not requested
    :ivar marker: where the next page begins, None after an empty last one
    :ivar bytes_decoded: of metadata that was read to select the queues
    """

    kind: Kind
    queues: Sequence[NamedQueue]
    again: Mapping[str, Any]
    count: int | None = None
    marker: str | None = None
    bytes_decoded: int = 0


@dataclass(frozen=True, slots=True)
class MessagePage:
    """A page of messages, or messages requested by id.

    :ivar again: the query of the page, to be repeated with a marker
    :ivar marker: where the next page begins, None without a next page
    """

    messages: Sequence[Message]
    now: int
    again: Mapping[str, Any] | None = None
    marker: str | None = None


@dataclass(frozen=True, slots=True)
class OneMessage:
    """A message and the moment it was read."""

    message: Message
    now: int


@dataclass(frozen=True, slots=True)
class Posted:
    """Ids of new messages, in posting order."""

    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Popped:
    """Messages that were removed from the queue."""

    messages: Sequence[Message]
    now: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim as it stood at ``now``."""

    claim: Claim
    now: int


@dataclass(frozen=True, slots=True)
class Counted:
    """The statistics of a queue, if it exists, as they stood at ``now``."""

    stats: Stats
    now: int
    exists: bool = True


@dataclass(frozen=True, slots=True)
class SubscriptionPage:
    """A page of subscriptions.

    :ivar again: the query of the page, to be repeated with a marker
    :ivar marker: where the next page begins, None after an empty last one
    """

    subscriptions: Sequence[Subscription]
    again: Mapping[str, Any]
    now: int
    marker: str | None = None


@dataclass(frozen=True, slots=True)
class Detailed(Generic[Item]):
    """A pool or flavor, and whether all of it is shown."""

    item: Item
    detailed: bool


@dataclass(frozen=True, slots=True)
class DetailedPage(Generic[Item]):
    """A page of pools or flavors.

    :ivar again: the query of the page, to be repeated with a marker
    """

    items: Sequence[Item]
    detailed: bool
    again: Mapping[str, Any]
