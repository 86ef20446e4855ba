# SPDX-License-Identifier: Apache-2.0
"""Why a message is not deleted, in the words that clients see."""

from zaqar.errors import InvalidDeletion, MessageClaimed


def message_claimed() -> MessageClaimed:
    """Return the error for a message that another claim holds."""
    return MessageClaimed(
        'This message is claimed; it cannot be deleted without a valid '
        'claim ID.'
    )


def message_free() -> InvalidDeletion:
    """Return the error for a claim that does not hold the message."""
    return InvalidDeletion(
        'A claim was specified, but the message is not currently claimed.'
    )


def unknown_claim() -> InvalidDeletion:
    """Return the error for a claim that does not exist."""
    return InvalidDeletion(
        'The specified claim does not exist or has expired.'
    )
