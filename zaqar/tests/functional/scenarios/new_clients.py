# SPDX-License-Identifier: Apache-2.0
"""Clients of 2.1, which are the same over both transports."""

from __future__ import annotations

import abc
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

from zaqar.api import operation_table
from zaqar.api.microversion_negotiation import HEADER, MAX
from zaqar.controllers import idempotency_key
from zaqar.tests.functional.keystone.callers import Caller
from zaqar.tests.functional.websocket.client import Talk

VERSION = {HEADER: MAX.header}


@dataclass(frozen=True)
class Claimed:
    """A claim and its messages, each with ``id`` and ``body``."""

    id: str
    messages: Sequence[Mapping[str, Any]]

    @property
    def ids(self) -> list[str]:
        """The ids of its messages."""
        return [message['id'] for message in self.messages]

    @property
    def bodies(self) -> list[Any]:
        """The bodies of its messages."""
        return [message['body'] for message in self.messages]


class NewClient(abc.ABC):
    """A client that knows all operations by the names of their actions.

    :ivar headers: what it sends beside the version
    :ivar received: the headers of the last answer
    """

    def __init__(self) -> None:
        self.headers: Mapping[str, str] = {}
        self.received: Mapping[str, Any] = {}

    @abc.abstractmethod
    def ask(self, action: str, **values: Any) -> tuple[int, Any]:
        """Return status and body of an answer.

        :param values: of the path, the query and the body, by name
        """

    @abc.abstractmethod
    def close(self) -> None:
        """End the connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, action: str, *statuses: int, **values: Any) -> Any:
        """Return the body of an answer that has one of some statuses."""
        status, body = self.ask(action, **values)
        assert status in (statuses or (200,)), (action, status, body)
        return body

    def create(self, queue: str, **metadata: Any) -> None:
        """Create a queue."""
        self.get('queue_create', 201, queue_name=queue, metadata=metadata)

    def post(self, queue: str, *messages: Mapping[str, Any]) -> list[str]:
        """Post messages; return their ids."""
        body = self.get(
            'message_post', 201, queue_name=queue, messages=messages
        )
        if 'message_ids' in body:
            return list(body['message_ids'])
        return [path.rpartition('/')[2] for path in body['resources']]

    def post_by_key(
        self, queue: str, key: str, *messages: Mapping[str, Any]
    ) -> tuple[list[str], bool]:
        """Post messages under a key.

        :returns: also whether the post is said to repeat another one
        """
        self.headers = {idempotency_key.HEADER: key}
        try:
            ids = self.post(queue, *messages)
        finally:
            self.headers = {}
        names = map(str.lower, self.received)
        return ids, idempotency_key.REPLAYED.lower() in names

    def claim(
        self, queue: str, limit: int = 10, **terms: Any
    ) -> Claimed | None:
        """Claim messages, None if there are none."""
        terms = {'ttl': 300, 'grace': 0, **terms}
        body = self.get(
            'claim_create', 201, 204, queue_name=queue, limit=limit, **terms
        )
        if not body or not body.get('messages'):
            return None
        messages = body['messages']
        claim_id = body.get('claim_id') or _claim_of(messages[0])
        return Claimed(claim_id, messages)

    def take(self, queue: str, limit: int = 10, **terms: Any) -> Claimed:
        """Claim messages that must be there."""
        claimed = self.claim(queue, limit, **terms)
        assert claimed is not None
        return claimed

    def release(self, queue: str, claim_id: str) -> None:
        """Release a claim."""
        self.get('claim_delete', 204, queue_name=queue, claim_id=claim_id)

    def delete(self, queue: str, message_id: str, claim_id: str) -> None:
        """Delete a claimed message."""
        self.get(
            'message_delete',
            204,
            queue_name=queue,
            message_id=message_id,
            claim_id=claim_id,
        )

    def settle(
        self, queue: str, claim_id: str, **lists: Any
    ) -> dict[str, str]:
        """Settle messages of a claim; return the status of each."""
        body = self.get(
            'claim_settle', queue_name=queue, claim_id=claim_id, **lists
        )
        return {item['id']: item['status'] for item in body['results']}

    def messages(self, queue: str, **query: Any) -> list[Any]:
        """Return the first page of a list, its own messages included."""
        query = {'echo': True, 'limit': 20, **query}
        body = self.get('message_list', queue_name=queue, **query)
        return list(body['messages'])

    def stats(self, queue: str) -> Any:
        """Return the statistics of a queue."""
        return self.get('queue_get_stats', queue_name=queue)

    def explain(self, queue: str, message_id: str) -> Any:
        """Return why a message is handed out, or is not."""
        return self.get(
            'message_explain', queue_name=queue, message_id=message_id
        )


class HttpClient(NewClient):
    """Sends requests."""

    def __init__(self, caller: Caller) -> None:
        super().__init__()
        self._caller = caller

    def ask(self, action: str, **values: Any) -> tuple[int, Any]:
        row = operation_table.BY_ACTION[action]
        path = re.sub(
            r'{(\w+)}', lambda match: str(values.pop(match[1])), row.path
        )
        query = {
            param.name: values.pop(param.member or param.name)
            for param in row.query
            if (param.member or param.name) in values
        }
        more: dict[str, Any] = {}
        if row.body is not None:
            member = row.body.member
            more['json'] = values[member] if member else values
        answer = self._caller.ask(
            row.method,
            f'{path}?{urlencode(query)}',
            {**VERSION, **self.headers},
            **more,
        )
        self.received = answer.headers
        return answer.status_code, answer.json() if answer.content else None

    def close(self) -> None:
        """Do nothing: each request has a connection of its own."""


class FrameClient(NewClient):
    """Sends frames."""

    def __init__(self, caller: Caller, url: str) -> None:
        super().__init__()
        self._talk = Talk(url, caller.project, client=str(uuid.uuid4()))
        said = self._talk.ask(
            'authenticate',
            headers={'X-Auth-Token': caller.token, **VERSION},
        )
        assert said.status == 200, said

    def ask(self, action: str, **values: Any) -> tuple[int, Any]:
        # Whatever waits has a request_id.
        headers = {**VERSION, **self.headers, 'request_id': 1}
        said = self._talk.ask(action, values, headers)
        self.received = said.headers
        return said.status, said.body

    def close(self) -> None:
        self._talk.cut()


def _claim_of(message: Mapping[str, Any]) -> str:
    return str(message['href'].partition('claim_id=')[2])
