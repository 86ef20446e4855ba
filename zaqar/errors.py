# SPDX-License-Identifier: Apache-2.0
"""All errors of the API, each with its status and title.

Layers below the transports raise them; the transports convert them to
responses. Titles and statuses are part of the Messaging API v2. The last three
are no answers: they stop the start, or make a call be repeated.
"""

from collections.abc import Mapping
from typing import ClassVar


def one_line(error: object) -> str:
    """Return the text of an error without line breaks, or else its type."""
    return ' '.join(str(error).split()) or type(error).__name__


class ZaqarError(Exception):
    """An error response.

    :param description: the cause, for the caller; None omits the key
    :param title: overrides the title of the class
    :param headers: additional headers of the response
    """

    status: ClassVar[int] = 500
    default_title: ClassVar[str] = 'Internal server error'

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


class InvalidRequest(ZaqarError):
    """A limit exceeded, or a malformed request."""

    status = 400
    default_title = 'Invalid API request'


class InvalidBody(InvalidRequest):
    """A body that is not JSON, or does not fit its schema."""

    default_title = 'Invalid request body'


class InvalidParameter(InvalidRequest):
    """A query value of the wrong type."""

    default_title = 'Invalid parameter'


class InvalidDeletion(InvalidRequest):
    """A deletion with a claim that does not hold the message."""

    default_title = 'Unable to delete'


class Forbidden(ZaqarError):
    """The policy denies the request."""

    status = 403
    default_title = 'Not authorized'

    def __init__(self) -> None:
        super().__init__('You are not authorized to complete this action.')


class MessageClaimed(ZaqarError):
    """A claimed message cannot be deleted without its claim."""

    status = 403
    default_title = 'Unable to delete'


class QueueFull(ZaqarError):
    """A post would exceed the queue's limit of live messages."""

    status = 403
    default_title = 'Queue is full'


class PoolInUse(ZaqarError):
    """A pool that is still needed cannot be deleted."""

    status = 403
    default_title = 'Unable to delete'


class NoPool(ZaqarError):
    """No pool admits a new queue."""

    status = 403
    default_title = 'No pool for the queue'


class NoRoute(ZaqarError):
    """No such path, or a caller who must not learn that it exists."""

    status = 404
    default_title = '404 Not Found'


class NotFound(ZaqarError):
    """The resource does not exist for this project."""

    status = 404
    default_title = 'Not found'


class MethodNotAllowed(ZaqarError):
    """The path exists, but not for this method."""

    status = 405
    default_title = '405 Method Not Allowed'


class NotAcceptable(ZaqarError):
    """The caller accepts none of the media types of the service."""

    status = 406
    default_title = '406 Not Acceptable'


class RequestTimeout(ZaqarError):
    """The body was sent too slowly."""

    status = 408
    default_title = '408 Request Timeout'

    def __init__(self, description: str) -> None:
        super().__init__(description, headers={'Connection': 'close'})


class Conflict(ZaqarError):
    """The resource is in a state that does not allow the change."""

    status = 409
    default_title = 'Resource conflict'


class LengthRequired(ZaqarError):
    """A chunked body, which the web server does not support."""

    status = 411
    default_title = '411 Length Required'


class DecryptionFailed(Conflict):
    """The stored body of a message failed authenticated decryption.

    :param lacks_key: whether the cause may be a changed key without an id
    """

    def __init__(self, description: str, *, lacks_key: bool) -> None:
        super().__init__(description)
        self.lacks_key = lacks_key


class UnsupportedMediaType(ZaqarError):
    """A PATCH with another media type than the operation needs."""

    status = 415
    default_title = '415 Unsupported Media Type'


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


class StaleMetadata(Exception):
    """A message store was called with outdated metadata of a queue.

    Never reaches a caller: see :class:`QueueGone`.
    """
