# SPDX-License-Identifier: Apache-2.0
"""One queue by name, worked through the controllers as a client would."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import structs

from zaqar.controllers import (
    claimed_message_settlement,
    claims,
    message_reading_and_deletion,
    posting,
    queue_statistics,
    queues,
)
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.result_types import MessagePage
from zaqar.objects import Claim, Kind, Message, Scope, Stats
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.abstract_stores import ManagementStore, MessageStore


class Caller:
    """A queue with short calls."""

    def __init__(
        self, ctx: Context, name: str, kind: Kind = Kind.QUEUE
    ) -> None:
        self.ctx = ctx
        self.scope = Scope(ctx.identity.project, name, kind)

    def by(self, catalogue: Catalogue) -> Caller:
        """Return the same queue, reached through another process."""
        ctx = structs.replace(self.ctx, catalogue=catalogue)
        return Caller(ctx, self.scope.name, self.scope.kind)

    def other(self, name: str) -> Caller:
        """Return another queue of the same project."""
        return Caller(self.ctx, name, self.scope.kind)

    def create(self, **metadata: Any) -> bool:
        """Make the queue."""
        return queues.create(self.ctx, scope=self.scope, document=metadata)

    def delete_queue(self) -> None:
        """Delete the queue."""
        queues.delete(self.ctx, scope=self.scope)

    def post(self, *bodies: Any, **fields: Any) -> Sequence[str]:
        """Post messages with these bodies."""
        document = {'messages': [{'body': body, **fields} for body in bodies]}
        post = msgspec.json.decode(
            json.dumps(document).encode(), type=posting.Post
        )
        return posting.post(self.ctx, scope=self.scope, document=post).ids

    def claim(
        self, limit: int | None = None, ttl: int = 300, grace: int = 60
    ) -> Claim | None:
        """Claim messages."""
        claimed = claims.create(
            self.ctx,
            scope=self.scope,
            limit=limit,
            document=claims.ClaimOptions(ttl, grace),
        )
        return claimed.claim if claimed else None

    def hand_out(self) -> Sequence[Message]:
        """Claim all there is, give it back, and return it."""
        claim = self.claim(20)
        if claim is None:
            return []
        self.release(claim.id)
        return claim.messages

    def claimed(self, claim_id: str) -> Claim:
        """Look up a claim."""
        return claims.get(self.ctx, scope=self.scope, claim_id=claim_id).claim

    def renew(self, claim_id: str) -> None:
        """Renew a claim."""
        claims.renew(
            self.ctx, scope=self.scope, claim_id=claim_id, document=None
        )

    def settle(self, claim_id: str, **document: Any) -> dict[str, str]:
        """Settle messages; return what has become of each."""
        answer = claimed_message_settlement.settle(
            self.ctx, scope=self.scope, claim_id=claim_id, document=document
        )
        return {item['id']: item['status'] for item in answer['results']}

    def release(self, claim_id: str) -> None:
        """Release a claim."""
        claims.release(self.ctx, scope=self.scope, claim_id=claim_id)

    def page(
        self,
        marker: str | None = None,
        limit: int | None = None,
        echo: bool = True,
        include_claimed: bool = True,
    ) -> MessagePage:
        """List a page, delayed messages too."""
        return message_reading_and_deletion.list_(
            self.ctx,
            scope=self.scope,
            marker=marker,
            limit=limit,
            echo=echo,
            include_claimed=include_claimed,
            include_delayed=True,
            ids=None,
        )

    def everything(self) -> list[Message]:
        """Return all live messages."""
        message_reading_and_deletion: list[Message] = []
        page = self.page(limit=20)
        while page.messages:
            message_reading_and_deletion += page.messages
            page = self.page(limit=20, marker=page.marker)
        return message_reading_and_deletion

    def get(self, message_id: str) -> Message:
        """Look up a message."""
        return message_reading_and_deletion.get(
            self.ctx, scope=self.scope, message_id=message_id
        ).message

    def get_many(self, *ids: str) -> Sequence[Message]:
        """Look up messages."""
        return message_reading_and_deletion.get_many(
            self.ctx, scope=self.scope, ids=ids
        ).messages

    def delete(self, message_id: str, claim_id: str | None = None) -> None:
        """Delete a message."""
        message_reading_and_deletion.delete(
            self.ctx,
            scope=self.scope,
            message_id=message_id,
            claim_id=claim_id,
        )

    def delete_many(self, *ids: str) -> None:
        """Delete messages."""
        message_reading_and_deletion.delete_many(
            self.ctx, scope=self.scope, ids=ids, claim_ids=None, pop=None
        )

    def pop(self, count: int = 20) -> Sequence[Message]:
        """Take messages for good."""
        deletion = message_reading_and_deletion.delete_many(
            self.ctx, scope=self.scope, ids=None, claim_ids=None, pop=count
        )
        return deletion.messages if deletion else []

    def stats(self) -> Stats:
        """Count."""
        return queue_statistics.show(self.ctx, scope=self.scope).stats

    def purge(self) -> None:
        """Empty the queue."""
        queues.purge(self.ctx, scope=self.scope, document=None)


class Died(Exception):
    """The process ended here."""


class Mortal:
    """A process that dies after a number of changes to its stores.

    :ivar changes: those that were made, by name
    """

    #: Calls that change something.
    CHANGES = frozenset(
        {
            *('post', 'delete', 'delete_many', 'pop', 'claim', 'renew'),
            *('release', 'settle', 'purge', 'drop', 'create', 'replace'),
            'require_version',
        }
    )

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.changes: list[str] = []

    def catalogue(
        self, management: ManagementStore, store: MessageStore
    ) -> Catalogue:
        """Return the process's view of both stores."""
        return Catalogue(self.watched(management), self.watched(store))

    def watched(self, store: Any) -> Any:
        """Return the process's view of a store."""
        return _Watched(store, self)

    def call(self, name: str, work: Any) -> Any:
        """Make a change; die if it was the last."""
        if len(self.changes) == self.steps:
            raise Died
        result = work()
        self.changes.append(name)
        return result


class _Watched:
    """A store whose changes are counted."""

    def __init__(self, store: Any, mortal: Mortal) -> None:
        self._store = store
        self._mortal = mortal

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in Mortal.CHANGES:
            return method
        return lambda *arguments, **options: self._mortal.call(
            name, lambda: method(*arguments, **options)
        )
