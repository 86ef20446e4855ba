# SPDX-License-Identifier: Apache-2.0
"""Opens the store: credentials, endpoint, rows."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from keystoneauth1.identity import generic, v3
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session
from swiftclient.authv1 import PasswordPlugin

from zaqar.errors import ConfigurationError
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER as SQL
from zaqar.storage.swift.body_references import INLINE
from zaqar.storage.swift.concurrent_object_requests import SwiftClient
from zaqar.storage.swift.connections import DEADLINE, SwiftConnections
from zaqar.storage.swift.large_body_store import LargeBodyStore

_V1 = re.compile(r'/v1(\.0)?/?$')


def open_messages(
    uri: str,
    options: Mapping[str, Any],
    *,
    inline: int = INLINE,
    timeout: float = DEADLINE,
) -> LargeBodyStore:
    """Open the message store; see :mod:`.driver_declaration`.

    :param inline: bytes of a body that stays in the row
    :param timeout: seconds that a call may wait for Swift
    """
    client = _client(uri, options, timeout)
    try:
        client.check()
        rows = SQL.open_messages(*options['management'])
    except BaseException:
        client.close()
        raise
    return LargeBodyStore(rows, client, inline)


def _client(
    uri: str, options: Mapping[str, Any], timeout: float
) -> SwiftClient:
    user, password, project = parse(uri)
    insecure = bool(options.get('insecure'))
    auth_url = options.get('auth_url') or ''
    if urlsplit(auth_url).scheme not in ('http', 'https'):
        raise ConfigurationError('auth_url is no URL of http or https')
    auth = (
        PasswordPlugin(auth_url, f'{project}:{user}', password)
        if _V1.search(auth_url)
        else _keystone(auth_url, user, password, project, options)
    )
    endpoint = {
        key: options[key]
        for key in ('region_name', 'interface')
        if options.get(key)
    }
    session = Session(
        auth, requests.Session(), verify=not insecure, timeout=2.0
    )
    connections = SwiftConnections(
        session, endpoint, insecure=insecure, timeout=timeout
    )
    return SwiftClient(connections, options.get('max_connections') or 32)


def _keystone(
    auth_url: str,
    user: str,
    password: str,
    project: str,
    options: Mapping[str, Any],
) -> BaseAuthPlugin:
    arguments: dict[str, Any] = {
        'auth_url': auth_url,
        'username': user,
        'password': password,
        'project_name': project,
    }
    for key in ('project_domain', 'user_domain'):
        # The name has a default, so an id was set on purpose.
        which = 'id' if options.get(f'{key}_id') else 'name'
        arguments[f'{key}_{which}'] = (
            options.get(f'{key}_{which}') or 'Default'
        )
    # A URL without a version must be queried for it.
    if auth_url.rstrip('/').endswith('/v3'):
        return v3.Password(**arguments)
    return generic.Password(**arguments)


def parse(uri: str) -> tuple[str, str, str]:
    """Return user, password and project."""
    try:
        parts = urlsplit(uri)
        user, password, host = parts.username, parts.password, parts.hostname
    except ValueError:
        raise ConfigurationError('the URI is malformed') from None
    project = parts.path.strip('/')
    if parts.scheme != 'swift' or not user or not password or not project:
        raise ConfigurationError(
            'the URI must be swift://user:password@/project'
        )
    if host or parts.query or parts.fragment or '/' in project:
        raise ConfigurationError(
            'the URI names user, password and project only; the rest is set '
            'by options'
        )
    return unquote(user), unquote(password), unquote(project)
