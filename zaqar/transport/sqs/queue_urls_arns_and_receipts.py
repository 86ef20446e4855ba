# SPDX-License-Identifier: Apache-2.0
"""URLs and ARNs of queues, receipts of messages and tokens of tasks."""

import base64
import binascii
import hashlib
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from zaqar.transport.sqs.faults import Fault

FIFO = '.fifo'

_RECEIPT = re.compile(
    r'\A([0-9a-f]{32})\.([0-9]{1,9})\.([A-Za-z0-9_-]{1,64})', re.ASCII
)


#: Characters of the id of such a claim; that of any other has less.
_ATTEMPT = 64


class QueueName(NamedTuple):
    """A queue of a project."""

    project: str
    name: str


class Receipt(NamedTuple):
    """What a client that received a message knows it by.

    :ivar hand_outs: how often it had been handed out then
    """

    message_id: str
    hand_outs: int
    claim_id: str

    @property
    def handle(self) -> str:
        """Return the receipt handle, which has no hyphen.

        amazon-sqs-extended-client sends what follows the last one.
        """
        return f'{self.message_id}.{self.hand_outs}.{self.claim_id}'

    @property
    def is_of_attempt(self) -> bool:
        """Tell whether the client chose the id of the claim.

        Then another claim may have the same id, and hold the message again.
        """
        return len(self.claim_id) == _ATTEMPT


def of_attempt(project: str, attempt: str) -> str:
    """Return the id of the claim of a client that names its attempts."""
    return hashlib.sha256(f'{project} {attempt}'.encode()).hexdigest()


def receipt(handle: str) -> Receipt:
    """Return the receipt of a handle.

    :raises Fault: it is none
    """
    match = _RECEIPT.fullmatch(handle)
    if match is None:
        raise Fault(
            'ReceiptHandleIsInvalid', 'The input receipt handle is invalid.'
        )
    return Receipt(match[1], int(match[2]), match[3])


def url(endpoint: str, project: str, name: str) -> str:
    """Return the URL of a queue.

    :param endpoint: as the client wrote it
    """
    return f'{endpoint}/{quote(project, safe="")}/{quote(name)}'


def of_url(text: str) -> QueueName:
    """Return the queue that a URL, or the path of one, ends with.

    :raises Fault: it names none
    """
    parts = text.rsplit('/', 2)
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise Fault(
            'InvalidAddress', f'The address {text} is not valid for a queue.'
        )
    return QueueName(unquote(parts[1]), unquote(parts[2]))


def arn(region: str, project: str, name: str) -> str:
    """Return the Amazon resource name of a queue."""
    return f'arn:aws:sqs:{region}:{project}:{name}'


def of_arn(text: str) -> QueueName | None:
    """Return the queue of a resource name, None if it is none."""
    prefix, _, rest = text.partition(':sqs:')
    project, _, name = rest.partition(':')[2].rpartition(':')
    if not prefix.startswith('arn:') or not project or not name:
        return None
    return QueueName(project, name)


def token(*parts: str) -> str:
    """Return an opaque text that stands for some others."""
    return base64.urlsafe_b64encode('\n'.join(parts).encode()).decode()


def of_token(text: str, count: int) -> list[str] | None:
    """Return the texts that a token stands for, None if it is none."""
    try:
        raw = base64.b64decode(text.encode(), b'-_', validate=True)
        parts = raw.decode().split('\n')
    except (binascii.Error, ValueError):
        return None
    return parts if len(parts) == count else None
