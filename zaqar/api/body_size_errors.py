# SPDX-License-Identifier: Apache-2.0
"""Errors of request bodies that are too large."""

from zaqar.errors import InvalidBody, InvalidRequest, ZaqarError


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
