# SPDX-License-Identifier: Apache-2.0
"""The request document of a redrive, and its checks."""

from typing import Any

import msgspec

from zaqar.controllers.name_validation import is_name
from zaqar.controllers.redrive_filter_parsing import compiled
from zaqar.controllers.redrive_request_member_checks import (
    MOST,
    check_names,
    number,
)
from zaqar.errors import InvalidRequest
from zaqar.objects import Scope

#: The greatest rate, in messages a second.
MAX_RATE = 10_000


class Request(msgspec.Struct, frozen=True):
    """The document of a redrive, checked.

    :ivar filter: as it was sent
    """

    to: str | None
    filter: dict[str, Any]
    limit: int | None
    rate: int | None
    dry_run: bool


_MEMBERS = frozenset(Request.__struct_fields__)


def parse(document: Any, scope: Scope) -> Request:
    """Check the document of a redrive of a queue.

    Unknown members are refused: a misspelt one would move more than was
    meant.

    :raises InvalidRequest: it is malformed
    """
    members = {} if document is None else document
    if not isinstance(members, dict):
        raise InvalidRequest('The document of a redrive must be an object.')
    check_names(members, _MEMBERS, 'a redrive')
    to = members.get('to')
    if to is not None and (not isinstance(to, str) or not is_name(to)):
        raise InvalidRequest('"to" must be the name of a queue.')
    if to == scope.name:
        raise InvalidRequest('"to" must be another queue.')
    dry_run = members.get('dry_run')
    if not isinstance(dry_run, bool | None):
        raise InvalidRequest('"dry_run" must be a boolean.')
    conditions = members.get('filter')
    conditions = {} if conditions is None else conditions
    compiled(conditions)
    return Request(
        to,
        conditions,
        number(members, 'limit', 1, MOST),
        number(members, 'rate', 1, MAX_RATE),
        bool(dry_run),
    )
