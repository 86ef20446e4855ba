# SPDX-License-Identifier: Apache-2.0
"""Errors of deletions, in the words that clients see."""

from zaqar.errors import InvalidDeletion, MessageClaimed


def message_claimed() -> MessageClaimed:
    return MessageClaimed(
        'This message is claimed; it cannot be deleted without a valid '
        'claim ID.'
    )


def message_free() -> InvalidDeletion:
    return InvalidDeletion(
        'A claim was specified, but the message is not currently claimed.'
    )


def unknown_claim() -> InvalidDeletion:
    return InvalidDeletion(
        'The specified claim does not exist or has expired.'
    )
