# SPDX-License-Identifier: Apache-2.0
"""Storage: the drivers, the contract they fulfil, and how they are loaded.

A driver stores state and decides nothing. Whatever is the same for every
backend (limits, defaults, lazy creation, dead-letter moves, encryption, names
and patterns) lives once, in the controllers. The classes in
:mod:`.abstract_stores` describe the calls; these rules hold for all of them:

*Isolation.* Messages are keyed by ``qid``, one incarnation of a queue. An id
or a claim of another ``qid`` does not exist; a marker of another one is at
most a position in this one, and reveals nothing of the other. Ids that a
client sends may be any text: one that cannot be an id is simply unknown.

*Time.* Every call takes ``now`` in milliseconds and compares against that
alone. A message is dead from ``created_at + ttl`` on; a claim holds each of
its messages until an end of its own, and is dead from the last of these on,
its ``expires_at``; a delay is over at its ``visible_at``: at exactly that
millisecond the new state holds. What is dead is invisible to every call,
whether or not it has been removed.

*States.* A live message is free, claimed (by a live claim) or delayed.

*Order.* The order of a queue is the order in which its posts became visible.
A post becomes visible as a whole. A message that comes back from a claim
returns to its place.

*Failures.* A call that cannot reach the server raises
:class:`~zaqar.errors.StoreUnavailable` within five seconds, after the
driver's own bounded retries. Every write may be retried by the driver, hence
must be idempotent: the caller chooses claim ids and post tokens. Nothing is
acknowledged before it is as durable as the server's settings can make it.

*Threads.* Stores are shared by all threads of a process. They are opened
after the process has forked and hold no transaction between calls.

*Deleted queues.* :meth:`~.abstract_stores.MessageStore.drop` leaves a
tombstone for :data:`~.abstract_stores.TOMBSTONE_LIFETIME` at least. Calls
that change such a ``qid``, or would answer "nothing", raise
:class:`~zaqar.errors.QueueGone`; a ``qid`` never seen is an empty queue.

*Metadata.* A queue records the oldest version of its metadata that may still
be used: 0 at first, raised by
:meth:`~.abstract_stores.MessageStore.require_version`. A call with an older
``version`` changes nothing and raises :class:`~zaqar.errors.StaleMetadata`,
in the same atomic step: no call that began after a change of metadata was
answered uses the old metadata. A call without a version is not checked. A
purge keeps the number.

*Subscribers.* A queue has a flag: it may have subscribers, or has none. The
flag is part of what every post reads anyway, so that a post to a queue
without subscribers costs nothing more. A ``qid`` never seen has the flag set;
it is cleared after a look at the subscriptions that returned none. A post to
a queue with the flag adds a notice to the queue
:data:`~.abstract_stores.OUTBOX` of the same store. That and all other
internal queues, whose names begin like it, are queues like others, except
that notices may come in any order and are not listed by marker, and that they
are neither purged nor dropped. No project can reach them: a queue of a
project has 32 hex digits.
"""
