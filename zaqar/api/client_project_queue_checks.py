# SPDX-License-Identifier: Apache-2.0
"""Checks of the client, project and queue that a request names."""

import functools
import uuid
from collections.abc import Mapping

from zaqar import control_character_patterns
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.name_validation import MAX_PROJECT, is_name
from zaqar.errors import InvalidRequest
from zaqar.objects import Kind, Scope

#: Characters of the longest Client-ID that is cached: callers choose it.
_USUAL = 40

#: Path value that names the queue or topic, with its kind.
SCOPES = {'queue_name': Kind.QUEUE, 'topic_name': Kind.TOPIC}


def client_id(text: str | None, limits: Limits) -> str:
    """Return the canonical form of a Client-ID.

    :raises InvalidRequest: absent, or not of the configured form
    """
    if text is None:
        raise InvalidRequest(
            'The "Client-Id" header is required.', title='Missing header value'
        )
    try:
        # Dashes and braces do not count: an id may be of any length.
        return (_cached_uuid if len(text) <= _USUAL else _uuid)(text)
    except ValueError:
        return _plain_client_id(text, limits)


def _uuid(text: str) -> str:
    return str(uuid.UUID(text))


_cached_uuid = functools.lru_cache(maxsize=4096)(_uuid)


def _plain_client_id(text: str, limits: Limits) -> str:
    shortest = limits.min_length_client_id
    longest = limits.max_length_client_id
    if limits.client_id_uuid_safe == 'strict':
        fault = 'Malformed hexadecimal UUID.'
    elif shortest <= len(text) <= longest:
        return text
    else:
        fault = (
            f'Length of client id must be at least {shortest} and no '
            f'greater than {longest}.'
        )
    raise InvalidRequest(fault, title='Wrong UUID value')


def project(text: str | None) -> str:
    """Return the project of a request.

    :raises InvalidRequest: absent or empty
    """
    if text is None:
        raise InvalidRequest(
            'The header X-PROJECT-ID was missing', title='Project-Id Missing'
        )
    if not text:
        raise InvalidRequest(
            'X-PROJECT-ID cannot be an empty string. Specify the right '
            'header X-PROJECT-ID and retry.',
            title='Empty project header not allowed',
        )
    if control_character_patterns.PATTERN.search(text):
        raise InvalidRequest(
            'X-PROJECT-ID must not hold control characters.',
            title='Invalid project',
        )
    return text


def scope(project_id: str, path: Mapping[str, str]) -> Scope | None:
    """Return the queue or topic that a path names, None if none.

    :raises InvalidRequest: an invalid name, or too long a project
    """
    return take_scope(project_id, {**path})


def take_scope(project_id: str, path: dict[str, str]) -> Scope | None:
    """Return the same, and take its name out of the values of the path."""
    for key in SCOPES:
        if key in path:
            name = path[key]
            del path[key]
            return _scope(project_id, name, SCOPES[key])
    if len(project_id) > MAX_PROJECT:
        raise _malformed(Kind.QUEUE)
    return None


def without_scope(path: Mapping[str, str]) -> dict[str, str]:
    """Return the values of a path that name no queue or topic."""
    return {name: value for name, value in path.items() if name not in SCOPES}


# What is no name is an error, which is not remembered.
@functools.lru_cache(maxsize=4096)
def _scope(project_id: str, name: str, kind: Kind) -> Scope:
    if len(project_id) > MAX_PROJECT or not is_name(name):
        raise _malformed(kind)
    return Scope(project_id, name, kind)


def _malformed(kind: Kind) -> InvalidRequest:
    return InvalidRequest(
        f'The format of the submitted {kind} name or project id is not valid.',
        title=f'Invalid {kind} identification',
    )
