# SPDX-License-Identifier: Apache-2.0
"""A client that makes the calls of a worker over HTTP.

Thin on purpose: processor time of the client is load that the service does
not get.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import urllib3

from zaqar.bench.client_interface import TIMEOUT, CallFailed, ClaimedMessages

#: What a request that waits needs in its headers.
WAITING = {'OpenStack-API-Version': 'messaging 2.1'}


class HttpBenchClient:
    """A client over one persistent HTTP connection."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        own = {**headers, 'Content-Type': 'application/json'}
        self._waiting = {**own, **WAITING}
        self._base = f'{parts.path.rstrip("/")}/v2/queues'
        self._pool = urllib3.connection_from_url(
            f'{parts.scheme}://{parts.netloc}',
            maxsize=1,
            timeout=TIMEOUT,
            retries=False,
            headers=own,
        )

    def connect(self) -> None:
        self._call('GET', '?limit=1')

    def delete_queue(self, queue: str) -> None:
        self._call('DELETE', f'/{queue}')

    def post(self, queue: str, messages: Sequence[Mapping[str, Any]]) -> None:
        self._call('POST', f'/{queue}/messages', {'messages': messages})

    def claim(
        self, queue: str, *, ttl: int, grace: int, limit: int, wait: int
    ) -> ClaimedMessages | None:
        answer = self._call(
            'POST',
            f'/{queue}/claims?limit={limit}{f"&wait={wait}" if wait else ""}',
            {'ttl': ttl, 'grace': grace},
            self._waiting if wait else None,
        )
        if not answer:
            return None
        messages = answer['messages']
        claim_id = parse_qs(urlsplit(messages[0]['href']).query)['claim_id'][0]
        return ClaimedMessages(
            claim_id,
            [item['id'] for item in messages],
            [item['body'] for item in messages],
        )

    def delete(self, queue: str, claim_id: str, message_id: str) -> None:
        self._call(
            'DELETE', f'/{queue}/messages/{message_id}?claim_id={claim_id}'
        )

    def delete_many(self, queue: str, message_ids: Sequence[str]) -> None:
        self._call('DELETE', f'/{queue}/messages?ids={",".join(message_ids)}')

    def list(self, queue: str, marker: str | None, limit: int) -> str | None:
        place = f'&marker={marker}' if marker else ''
        answer = self._call(
            'GET',
            f'/{queue}/messages?limit={limit}&include_claimed=true'
            f'&echo=true{place}',
        )
        if not answer or not answer['messages']:
            return None
        query = parse_qs(urlsplit(answer['links'][0]['href']).query)
        following: str = query['marker'][0]
        return following

    def close(self) -> None:
        self._pool.close()

    def _call(
        self,
        method: str,
        path: str,
        document: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        body = None if document is None else msgspec.json.encode(document)
        try:
            answer = self._pool.urlopen(
                method, self._base + path, body=body, headers=headers
            )
        except urllib3.exceptions.HTTPError as error:
            raise CallFailed(type(error).__name__) from error
        if answer.status >= 300:
            raise CallFailed(str(answer.status))
        return msgspec.json.decode(answer.data) if answer.data else None
