# SPDX-License-Identifier: Apache-2.0
"""Programs whose queues are looked at in the console."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import requests

#: Attempts as few and as early as they can be.
HASTE = {
    'retries_with_no_delay': 0,
    'minimum_delay_retries': 0,
    'minimum_delay': 0,
    'maximum_delay': 11,
    'maximum_delay_retries': 0,
}


class Producer:
    """A client of the API.

    :param url: of the service
    :param headers: who it is
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url = url
        self._headers = {
            'Client-ID': str(uuid.uuid4()),
            'Content-Type': 'application/json',
            'OpenStack-API-Version': 'messaging 2.1',
            **headers,
        }

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        """Send a request about queues; return the document of the answer."""
        answer = requests.request(
            method,
            f'{self.url}/v2/queues{path}',
            headers=self._headers,
            data=_encoded(document),
            timeout=30,
        )
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def post(self, queue: str, *bodies: Any, **fields: Any) -> list[str]:
        """Post messages and return their ids."""
        messages = [{'body': body, 'ttl': 3600, **fields} for body in bodies]
        posted = self.ask('POST', f'/{queue}/messages', {'messages': messages})
        return [href.rpartition('/')[2] for href in posted['resources']]

    def claim(self, queue: str, limit: int = 1) -> Sequence[Any]:
        """Claim messages."""
        claim = self.ask('POST', f'/{queue}/claims?limit={limit}', {})
        return list(claim['messages']) if claim else []

    def reject(self, queue: str, reason: str, limit: int = 1) -> None:
        """Make messages dead letters."""
        claimed = self.claim(queue, limit)
        name = claimed[0]['href'].partition('claim_id=')[2]
        ids = [one['id'] for one in claimed]
        self.ask(
            'POST',
            f'/{queue}/claims/{name}/settle',
            {'reject': [{'id': one, 'reason': reason} for one in ids]},
        )

    def subscribe(self, queue: str, url: str, **options: Any) -> str:
        """Subscribe a webhook and return the id of the subscription."""
        document = {
            'subscriber': url,
            'ttl': 3600,
            'options': {'_retry_policy': HASTE, **options},
        }
        made = self.ask('POST', f'/{queue}/subscriptions', document)
        return str(made['subscription_id'])


def _encoded(document: Any) -> bytes | None:
    """Return a document without escapes, which make long bodies longer."""
    if document is None:
        return None
    return json.dumps(document, ensure_ascii=False).encode()
