# SPDX-License-Identifier: Apache-2.0
"""Who has sent a request, by its signature."""

import datetime
import functools
import hashlib
import logging
import uuid
from typing import Protocol

from zaqar.api import client_project_queue_checks
from zaqar.errors import InvalidRequest
from zaqar.identity import Identity
from zaqar.transport.sqs.action_context import Caller
from zaqar.transport.sqs.faults import Fault
from zaqar.transport.sqs.signature_v4 import Signature

LOG = logging.getLogger(__name__)

_CLIENTS = uuid.UUID('1f1a7be5-4f9e-4a6b-9c58-6f0b3f1d7e21')


class Prover(Protocol):
    """Proves signatures."""

    def prove(self, signature: Signature) -> Identity:
        """Return who has made a signature.

        :raises Fault: it is not valid
        """


class Trusting:
    """Takes the access key for the project, and any signature for valid."""

    def prove(self, signature: Signature) -> Identity:
        return _trusted(signature.access)


# Clients repeat their keys; what is none is an error, which is not cached.
@functools.lru_cache(maxsize=4096)
def _trusted(access: str) -> Identity:
    try:
        project = client_project_queue_checks.project(access)
    except InvalidRequest as error:
        raise Fault('InvalidClientTokenId', str(error)) from error
    return Identity(project, client_id(project))


def client_id(user: str) -> str:
    """Return what a user is known by as the sender of messages.

    That of a Keystone user is its id, if it is a UUID.
    """
    try:
        return str(uuid.UUID(user))
    except ValueError:
        digest = hashlib.sha256(user.encode()).hexdigest()
        return str(uuid.uuid5(_CLIENTS, digest))


def caller(
    signature: Signature | None, prover: Prover, now: datetime.datetime
) -> Caller:
    """Return who has sent a request.

    :raises Fault: it is not signed, not of the present, or not valid
    """
    if signature is None:
        raise Fault('MissingAuthenticationToken', 'The request is not signed.')
    signature.check_time(now)
    return Caller(prover.prove(signature), signature.region)
