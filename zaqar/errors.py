# SPDX-License-Identifier: Apache-2.0
"""Every error a caller can meet, each with its status and title.

Layers below the transports raise these; the transports only print them. The
titles and statuses are part of the Messaging API v2: clients read both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class ZaqarError(Exception):
    """An answer other than success.

    :param description: what was wrong, for the caller; None leaves the
        key out of the answer
    :param title: overrides the title of the class
    :param headers: further headers of the answer
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
    """A limit passed, or a request that means nothing."""

    status = 400
    default_title = 'Invalid API request'


class InvalidBody(InvalidRequest):
    """A body that is no JSON, or of the wrong shape."""

    default_title = 'Invalid request body'


class InvalidParameter(InvalidRequest):
    """A query value of the wrong type."""

    default_title = 'Invalid parameter'


class InvalidDeletion(InvalidRequest):
    """A deletion with a claim that does not hold the message."""

    default_title = 'Unable to delete'


class Forbidden(ZaqarError):
    """The policy says no."""

    status = 403
    default_title = 'Not authorized'

    def __init__(self) -> None:
        super().__init__('You are not authorized to complete this action.')


class MessageClaimed(ZaqarError):
    """A claimed message is deleted without its claim."""

    status = 403
    default_title = 'Unable to delete'


class QueueFull(ZaqarError):
    """A post would pass the queue's limit of live messages."""

    status = 403
    default_title = 'Queue is full'


class PoolInUse(ZaqarError):
    """A pool that is still needed is deleted."""

    status = 403
    default_title = 'Unable to delete'


class NoPool(ZaqarError):
    """A queue would be made that no pool admits."""

    status = 403
    default_title = 'No pool for the queue'


class NoRoute(ZaqarError):
    """No such path, or a caller who must not learn that there is one."""

    status = 404
    default_title = '404 Not Found'


class NotFound(ZaqarError):
    """The resource does not exist for this project."""

    status = 404
    default_title = 'Not found'


class MethodNotAllowed(ZaqarError):
    """The path is known, the method is not."""

    status = 405
    default_title = '405 Method Not Allowed'


class NotAcceptable(ZaqarError):
    """The caller accepts nothing that could be answered."""

    status = 406
    default_title = '406 Not Acceptable'


class RequestTimeout(ZaqarError):
    """A body that came too slowly."""

    status = 408
    default_title = '408 Request Timeout'

    def __init__(self, description: str) -> None:
        super().__init__(description, headers={'Connection': 'close'})


class Conflict(ZaqarError):
    """The resource is in a state that does not allow the change."""

    status = 409
    default_title = 'Resource conflict'


class LengthRequired(ZaqarError):
    """A body in chunks, where the web server cannot hand it over."""

    status = 411
    default_title = '411 Length Required'


class DecryptionFailed(Conflict):
    """The stored body of a message is not what was encrypted.

    :param lacks_key: whether it may as well be another key, without an id
    """

    def __init__(self, description: str, *, lacks_key: bool) -> None:
        super().__init__(description)
        self.lacks_key = lacks_key


class UnsupportedMediaType(ZaqarError):
    """A PATCH of another media type than the operation reads."""

    status = 415
    default_title = '415 Unsupported Media Type'


class StoreUnavailable(ZaqarError):
    """A store did not answer in time; the request may be repeated.

    Raised by drivers without a description; dispatch adds the
    operation's own ("Queue could not be created. ...").
    """

    status = 503
    default_title = 'Service temporarily unavailable'

    def __init__(self, description: str | None = None) -> None:
        super().__init__(description, headers={'Retry-After': '5'})


class KeyMissing(StoreUnavailable):
    """A message was encrypted with a key that this server does not have."""

    lacks_key: ClassVar[bool] = True


class ConfigurationError(Exception):
    """A setting with which the service cannot start; names the option."""


class QueueGone(Exception):
    """A message store was asked about a queue that has been deleted.

    Never reaches a caller: the catalogue reads the queue's record again
    and repeats the call once.
    """


class StaleMetadata(Exception):
    """A call came with metadata of a queue that has been changed since.

    Never reaches a caller: see :class:`QueueGone`.
    """
