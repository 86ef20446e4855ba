# SPDX-License-Identifier: Apache-2.0
"""Clients of Amazon SQS, and of the same queues by our own API."""

from __future__ import annotations

import json
import urllib.parse
import uuid
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

REGION = 'a-region'

NAMESPACE = '{http://queue.amazonaws.com/doc/2012-11-05/}'

_CONFIG = Config(
    retries={'total_max_attempts': 1}, read_timeout=60, connect_timeout=30
)


def sqs(url: str, access: str, secret: str = 'secret', **more: Any) -> Any:
    """Return a client of boto3.

    :param url: of the service
    """
    return boto3.client(
        'sqs',
        endpoint_url=f'{url}/sqs',
        region_name=REGION,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        config=_CONFIG,
        **more,
    )


class Native:
    """A client of our own API, without a library."""

    def __init__(self, url: str, project: str) -> None:
        self._url = url
        self._headers = {
            'X-Project-ID': project,
            'Client-ID': str(uuid.UUID(int=5)),
            'OpenStack-API-Version': 'messaging 2.1',
        }

    def __call__(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> Any:
        """Send a request; return the document of the answer, if any."""
        answer = requests.request(
            method,
            f'{self._url}/v2/queues/{path}',
            data=None if body is None else json.dumps(body),
            headers={**self._headers, **headers},
            timeout=30,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None


def signed(
    url: str,
    access: str,
    secret: str = 'secret',
    *,
    body: bytes = b'',
    headers: Mapping[str, str] | None = None,
    method: str = 'POST',
) -> Any:
    """Return a signed request, prepared for ``requests``."""
    request = AWSRequest(method, url, data=body, headers=dict(headers or {}))
    credentials = Credentials(access, secret)
    SigV4Auth(credentials, 'sqs', REGION).add_auth(request)
    return request.prepare()


def send(request: Any) -> requests.Response:
    """Send a signed request."""
    return requests.request(
        request.method,
        request.url,
        data=request.body,
        headers=dict(request.headers),
        timeout=30,
    )


class Form:
    """A client of the Query protocol, by forms made by hand."""

    def __init__(self, url: str, project: str) -> None:
        self.endpoint = f'{url}/sqs/'
        self.project = project

    def answer(
        self, action: str, fields: Mapping[str, Any], url: str = ''
    ) -> requests.Response:
        """Send a form to the endpoint, or to the URL of a queue."""
        pairs = {'Action': action, 'Version': '2012-11-05', **fields}
        body = urllib.parse.urlencode(pairs).encode()
        form = {'Content-Type': 'application/x-www-form-urlencoded'}
        return send(
            signed(url or self.endpoint, self.project, body=body, headers=form)
        )

    def __call__(
        self, action: str, fields: Mapping[str, Any], url: str = ''
    ) -> ET.Element:
        """Return the answer to a form."""
        answer = self.answer(action, fields, url)
        assert answer.status_code == 200, answer.text
        assert answer.headers['Content-Type'] == 'text/xml'
        root = ET.fromstring(answer.content)
        assert root.tag == f'{NAMESPACE}{action}Response'
        assert root.find(f'.//{NAMESPACE}RequestId') is not None
        return root


def texts(root: ET.Element, name: str) -> list[str]:
    """Return the texts of all elements of a name."""
    return [item.text or '' for item in root.iter(f'{NAMESPACE}{name}')]
