# SPDX-License-Identifier: Apache-2.0
"""All errors of the API, each with its status and title.

Layers below the transports raise them; the transports convert them to
responses. Titles and statuses are part of the Messaging API v2. The last three
are no answers: they stop the start, or make a call be repeated.
"""

import http
from collections.abc import Mapping
from typing import ClassVar


def one_line(error: object) -> str:
    """Return the text of an error without line breaks, or else its type."""
    return ' '.join(str(error).split()) or type(error).__name__


class ZaqarError(Exception):
    """An error response.

    A subclass names its status and title as keywords, or those of its base;
    without a title it has the phrase of HTTP.

    :param description: the cause, for the caller; None omits the key
    :param title: overrides the title of the class
    :param headers: additional headers of the response
    """

    status: ClassVar[int] = 500
    default_title: ClassVar[str] = 'Internal server error'

    def __init_subclass__(cls, status: int = 0, title: str = '') -> None:
        if status:
            cls.status = status
            phrase = http.HTTPStatus(status).phrase
            cls.default_title = title or f'{status} {phrase}'
        elif title:
            cls.default_title = title

    def __init__(
        self,
        description: str | None = None,
        *,
        title: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(description or title or self.default_title)
        self.description = description
        self.title = title or self.default_title
        self.headers = dict(headers or {})


class InvalidRequest(ZaqarError, status=400, title='Invalid API request'):
    """A limit exceeded, or a malformed request."""


class InvalidBody(InvalidRequest, title='Invalid request body'):
    """A body that is not JSON, or does not fit its schema."""


class InvalidParameter(InvalidRequest, title='Invalid parameter'):
    """A query value of the wrong type."""


class InvalidDeletion(InvalidRequest, title='Unable to delete'):
    """A deletion with a claim that does not hold the message."""


class Forbidden(ZaqarError, status=403, title='Not authorized'):
    """The policy denies the request."""

    def __init__(self) -> None:
        super().__init__('You are not authorized to complete this action.')


class MessageClaimed(ZaqarError, status=403, title='Unable to delete'):
    """A claimed message cannot be deleted without its claim."""


class QueueFull(ZaqarError, status=403, title='Queue is full'):
    """A post would exceed the queue's limit of live messages.

    :ivar room: how many more it may hold
    """

    def __init__(self, held: int, limit: int) -> None:
        self.room = max(limit - held, 0)
        super().__init__(
            f'The queue holds {held} messages and may hold {limit}.'
        )


class QuotaExceeded(ZaqarError, status=403, title='Quota exceeded'):
    """The project has as much of a resource as it may have."""

    def __init__(
        self, project: str, resource: str, limit: int, used: int, more: int = 1
    ) -> None:
        # As oslo.limit says it for other services.
        super().__init__(
            f'Project {project} is over a limit for [Resource {resource} is '
            f'over limit of {limit} due to current usage {used} and delta '
            f'{more}]'
        )


class PoolInUse(ZaqarError, status=403, title='Unable to delete'):
    """A pool that is still needed cannot be deleted."""


class NoPool(ZaqarError, status=403, title='No pool for the queue'):
    """No pool admits a new queue."""


class NoRoute(ZaqarError, status=404):
    """No such path, or a caller who must not learn that it exists."""


class NotFound(ZaqarError, status=404, title='Not found'):
    """The resource does not exist for this project."""


class MethodNotAllowed(ZaqarError, status=405):
    """The path exists, but not for this method."""


class NotAcceptable(ZaqarError, status=406):
    """The caller accepts none of the media types of the service."""


class RequestTimeout(ZaqarError, status=408):
    """The body was sent too slowly."""

    def __init__(self, description: str) -> None:
        super().__init__(description, headers={'Connection': 'close'})


class Conflict(ZaqarError, status=409, title='Resource conflict'):
    """The resource is in a state that does not allow the change."""


class LengthRequired(ZaqarError, status=411):
    """A chunked body, which the web server does not support."""


class DecryptionFailed(Conflict):
    """The stored body of a message failed authenticated decryption.

    :param lacks_key: whether the cause may be a changed key without an id
    """

    def __init__(self, description: str, *, lacks_key: bool) -> None:
        super().__init__(description)
        self.lacks_key = lacks_key


class KeyReused(ZaqarError, status=422, title='Idempotency key reused'):
    """An ``Idempotency-Key`` was sent with another post before."""

    def __init__(self) -> None:
        super().__init__(
            'The Idempotency-Key was used for a post with another body. A '
            'new post needs a new key.'
        )


class UnsupportedMediaType(ZaqarError, status=415):
    """A PATCH with another media type than the operation needs."""


class HeadTooLarge(ZaqarError, status=431):
    """The head of a request is too long, or has too many headers."""


class RateExceeded(ZaqarError, status=429, title='Too many requests'):
    """The project does more per second than it may."""


class StoreUnavailable(ZaqarError):
    """A store did not respond in time; the request may be repeated.

    Any call of a store may raise it. Drivers raise it without a description;
    dispatch adds that of the operation ("Queue could not be created. ...").
    """

    status = 503
    default_title = 'Service temporarily unavailable'

    def __init__(self, description: str | None = None) -> None:
        super().__init__(description, headers={'Retry-After': '5'})


class KeyMissing(StoreUnavailable):
    """A message is encrypted with a key that this server does not have."""

    lacks_key: ClassVar[bool] = True


class ConfigurationError(Exception):
    """A setting that prevents the start of the service; names the option.

    Whatever reads, checks or uses settings may raise it.
    """


class QueueGone(Exception):
    """A message store was called with a queue that has been deleted.

    Any change of such a queue raises it; see :mod:`zaqar.storage`. Never
    reaches a caller: the catalogue reloads the queue's record and repeats the
    call once.
    """


class TokenReused(Exception):
    """A message store was called with the token of another post."""


class StaleMetadata(Exception):
    """A message store was called with outdated metadata of a queue.

    Never reaches a caller: see :class:`QueueGone`.
    """
