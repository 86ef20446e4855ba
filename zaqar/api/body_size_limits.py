# SPDX-License-Identifier: Apache-2.0
"""Maximum sizes of request bodies, and the errors of larger ones."""

from zaqar.controllers.configured_limits import Limits
from zaqar.errors import InvalidBody, InvalidRequest, ZaqarError


def metadata_size(limits: Limits) -> int:
    """Return the maximum size of metadata and of other small documents."""
    return limits.max_queue_metadata


def body_too_large(most: int) -> ZaqarError:
    return InvalidBody(f'Request body is too large. Max size: {most}')


def queue_metadata_too_large(most: int) -> ZaqarError:
    return InvalidRequest(f'Queue metadata is too large. Max size: {most}')


def patch_too_large(most: int) -> ZaqarError:
    return InvalidBody(f'Queue metadata is too large. Max size: {most}')


def post_too_large(most: int) -> ZaqarError:
    return InvalidRequest(
        f'Message collection size is too large. Max size {most}'
    )
