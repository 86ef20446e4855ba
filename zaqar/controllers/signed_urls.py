# SPDX-License-Identifier: Apache-2.0
"""Pre-signed URLs, made for users.

:source: reference/http, "Pre-signed access"
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from zaqar.controllers.context import Context
from zaqar.controllers.signatures import Grant, moment, shown
from zaqar.errors import InvalidBody, InvalidRequest
from zaqar.models import Scope

#: What a URL may open.
PATHS = ('messages', 'claims', 'subscriptions')

#: Seconds for which a URL is good if the user does not say.
LIFETIME = 86_400

_KEYS = frozenset(('paths', 'methods', 'expires'))


def share(ctx: Context, *, scope: Scope, document: Any) -> dict[str, Any]:
    """Make a pre-signed URL to parts of a queue, which need not exist.

    :param document: ``paths``, ``methods`` and ``expires``, all optional
    :returns: what a user of the URL has to send
    :raises InvalidRequest: a member is not as it should be
    """
    _check_keys(document)
    expires = _expires(document.get('expires'), ctx.signer.now())
    grant = Grant(
        sorted(
            f'/v2/queues/{scope.name}/{path}'
            for path in _paths(document.get('paths'))
        ),
        sorted(_methods(document.get('methods'))),
        scope.project,
        expires,
    )
    return {
        'paths': grant.paths,
        'methods': grant.methods,
        'project': grant.project,
        'expires': grant.expires,
        'signature': ctx.signer.sign(grant),
    }


def _check_keys(document: Any) -> None:
    if not isinstance(document, dict):
        raise InvalidBody('Document type not supported.')
    unknown = set(document) - _KEYS
    if unknown:
        raise InvalidRequest(f'Unknown keys: {unknown}')


def _is_empty(found: Any) -> bool:
    """Tell whether a member means its default, as some clients send it."""
    return found is None or found in ('', [], {})


def _paths(found: Any) -> Sequence[str]:
    if _is_empty(found):
        return PATHS[:1]
    if not isinstance(found, list):
        raise InvalidRequest('`paths` should be a list')
    invalid = [path for path in found if path not in PATHS]
    if invalid:
        raise InvalidRequest(f'Invalid paths: {invalid}')
    return found


def _methods(found: Any) -> Sequence[str]:
    if _is_empty(found):
        return ('GET',)
    if not isinstance(found, list):
        raise InvalidRequest('`methods` should be a list')
    if not all(isinstance(method, str) for method in found):
        raise InvalidRequest('`methods` should be a list of texts')
    return found


def _expires(found: Any, now: datetime.datetime) -> str:
    if found is None:
        return shown(now + datetime.timedelta(seconds=LIFETIME))
    if isinstance(found, int) or (isinstance(found, str) and found.isdigit()):
        raise InvalidRequest(
            '`expires` should be date format, for example '
            f'2016-01-01T00:00:00, not integer value: {found}'
        )
    try:
        end = moment(found)
    except (TypeError, ValueError):
        raise InvalidRequest(
            '`expires` should be date format, for example 2016-01-01T00:00:00'
        ) from None
    if end <= now:
        raise InvalidRequest('`expires` is lower than the current time')
    return shown(end)
