# SPDX-License-Identifier: Apache-2.0
"""Make pre-signed URLs.

:source: reference/http, "Pre-signed access"
"""

import datetime
from collections.abc import Sequence, Set
from typing import Any

from zaqar.controllers import queue_existence_check
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.time_parsing import parse_iso_8601
from zaqar.controllers.url_signatures import Grant, Signer, shown
from zaqar.errors import InvalidBody, InvalidRequest
from zaqar.microversion_constants import V2_1
from zaqar.objects import Scope

#: Collections that a URL may give access to.
PATHS = ('messages', 'claims', 'subscriptions')

#: Seconds for which a URL is valid by default.
LIFETIME = 86_400

_KEYS = frozenset(('paths', 'methods', 'expires'))


def share(ctx: Context, *, scope: Scope, document: Any) -> dict[str, Any]:
    """Make a pre-signed URL to collections of a queue.

    In 2.0 it counts for any queue of the name, which need not exist; from 2.1
    on for the present one alone.

    :param document: ``paths``, ``methods`` and ``expires``, all optional
    :returns: what a user of the URL has to send
    :raises InvalidRequest: a member is invalid
    :raises NotFound: from 2.1 on: the queue does not exist
    """
    _check_keys(document)
    expires = _expires(document.get('expires'), ctx.signer)
    grant = Grant(
        sorted(
            f'/v2/queues/{scope.name}/{path}'
            for path in _paths(document.get('paths'))
        ),
        sorted(_methods(document.get('methods'))),
        scope.project,
        expires,
        _fingerprint(ctx, scope),
    )
    return {
        'paths': grant.paths,
        'methods': grant.methods,
        'project': grant.project,
        'expires': grant.expires,
        'signature': ctx.signer.sign(grant),
    }


def _fingerprint(ctx: Context, scope: Scope) -> str:
    """Return that of the queue, or '' for a version that has none."""
    if ctx.version < V2_1:
        return ''
    queue = ctx.catalogue.read(scope)
    if queue is None:
        raise queue_existence_check.missing(scope)
    return queue.fingerprint


def covered(document: Any) -> tuple[Set[str], Set[str]]:
    """Return the collections and the methods that a URL would cover.

    None of a malformed document, which is refused later.
    """
    try:
        _check_keys(document)
        paths = _paths(document.get('paths'))
        methods = _methods(document.get('methods'))
    except InvalidRequest:
        return frozenset(), frozenset()
    return frozenset(paths), frozenset(methods)


def _check_keys(document: Any) -> None:
    if not isinstance(document, dict):
        raise InvalidBody('Document type not supported.')
    unknown = set(document) - _KEYS
    if unknown:
        raise InvalidRequest(f'Unknown keys: {unknown}')


def _is_empty(value: Any) -> bool:
    """Tell whether a member stands for its default; some clients send it."""
    return value is None or value in ('', [], {})


def _paths(value: Any) -> Sequence[str]:
    if _is_empty(value):
        return PATHS[:1]
    if not isinstance(value, list):
        raise InvalidRequest('`paths` should be a list')
    invalid = [path for path in value if path not in PATHS]
    if invalid:
        raise InvalidRequest(f'Invalid paths: {invalid}')
    return value


def _methods(value: Any) -> Sequence[str]:
    if _is_empty(value):
        return ('GET',)
    if not isinstance(value, list):
        raise InvalidRequest('`methods` should be a list')
    if not all(isinstance(method, str) for method in value):
        raise InvalidRequest('`methods` should be a list of texts')
    return value


def _expires(value: Any, signer: Signer) -> str:
    now, most = signer.now(), signer.max_lifetime
    if value is None:
        seconds = min(LIFETIME, most)
        return shown(now + datetime.timedelta(seconds=seconds))
    if isinstance(value, int) or (isinstance(value, str) and value.isdigit()):
        raise InvalidRequest(
            '`expires` should be date format, for example '
            f'2016-01-01T00:00:00, not integer value: {value}'
        )
    try:
        end = parse_iso_8601(value)
    except (TypeError, ValueError):
        raise InvalidRequest(
            '`expires` should be date format, for example 2016-01-01T00:00:00'
        ) from None
    if end <= now:
        raise InvalidRequest('`expires` is lower than the current time')
    if (end - now).total_seconds() > most:
        raise InvalidRequest(
            f'`expires` may be at most {most} seconds from the current time'
        )
    return shown(end)
