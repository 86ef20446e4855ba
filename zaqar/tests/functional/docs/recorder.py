# SPDX-License-Identifier: Apache-2.0
"""The samples of the API reference: requests sent, answers recorded.

With ``ZAQAR_RECORD_SAMPLES`` set, answers are written; else they are compared
in shape: the same members, with values of the same kinds.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import requests

ROOT = pathlib.Path(__file__).parents[4]

SAMPLES = ROOT / 'api-ref' / 'source' / 'samples'

_PATCH = 'application/openstack-messaging-v2.0-json-patch'

_CLIENT = '3381af92-2b9e-11e3-b191-71861300734c'


class Recorder:
    """Asks a running service, by the samples."""

    def __init__(
        self,
        url: str,
        replace: dict[str, str],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._url = url
        self._replace = replace
        self._session = requests.Session()
        self._session.headers.update(
            {'Client-ID': _CLIENT, 'X-Project-ID': 'demo', 'X-Roles': 'admin'}
        )
        self._session.headers.update(headers or {})

    def ask(
        self,
        http: str,
        *,
        request: str | None = None,
        response: str | None = None,
        **instead: str,
    ) -> Any:
        """Send a request and compare or record what is answered.

        :param http: method and path
        :param request: name of the sample that is its body
        :param response: name of the sample that its answer is
        :param instead: words of the request that are others this time
        """
        method, path = http.split(' ')
        body = self._request(request, instead) if request else None
        kind = _PATCH if _is_patch(method, path) else 'application/json'
        answer = self._session.request(
            method,
            self._url + path,
            data=body,
            headers={'Content-Type': kind},
            timeout=30,
        )
        assert answer.ok, (http, answer.status_code, answer.text)
        document = answer.json() if answer.content else None
        if response:
            self._response(response, document)
        return document

    def _request(self, name: str, instead: dict[str, str]) -> str:
        text = self._sample(f'{name}-request').read_text()
        for shown, real in (self._replace | instead).items():
            text = text.replace(shown, real)
        return text

    def _response(self, name: str, document: Any) -> None:
        path = self._sample(f'{name}-response')
        if os.environ.get('ZAQAR_RECORD_SAMPLES'):
            text = json.dumps(document, indent=4)
            for shown, real in self._replace.items():
                text = text.replace(real, shown)
            path.write_text(text + '\n')
        shown = json.loads(path.read_text())
        assert shape(shown) == shape(document), f'{path.name} is out of date'

    def _sample(self, name: str) -> pathlib.Path:
        return SAMPLES / f'{name}.json'


def _is_patch(method: str, path: str) -> bool:
    parts = path.strip('/').split('/')
    kinds = ('queues', 'topics')
    return method == 'PATCH' and len(parts) == 3 and parts[1] in kinds


def shape(value: Any) -> Any:
    """Return what kinds of values there are, and where."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 'number'
    return type(value).__name__
