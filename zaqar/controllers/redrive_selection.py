# SPDX-License-Identifier: Apache-2.0
"""Which messages a redrive moves, and where each of them goes."""

from collections.abc import Mapping
from typing import Any

import msgspec

from zaqar.controllers import body_filter, message_extras_codec
from zaqar.controllers.body_encryption import UNREADABLE, Cipher
from zaqar.controllers.body_filter import Filter
from zaqar.controllers.filter_operators import InvalidFilter
from zaqar.controllers.json_values import is_int
from zaqar.controllers.message_extras_codec import DeadLetter
from zaqar.controllers.name_validation import is_name
from zaqar.controllers.redrive_records import Redrive
from zaqar.errors import InvalidRequest
from zaqar.objects import Kind, Message, Scope

#: The members of a filter.
TEXTS, AGES, BODY = ('source', 'reason'), ('older_than', 'newer_than'), 'body'

#: The greatest rate, in messages a second.
MAX_RATE = 10_000

#: Bounds of a limit and of an age.
_MOST = 2**53


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
    _check_names(members, _MEMBERS, 'a redrive')
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
    _compiled(conditions)
    return Request(
        to,
        conditions,
        _number(members, 'limit', 1, _MOST),
        _number(members, 'rate', 1, MAX_RATE),
        bool(dry_run),
    )


def _check_names(
    members: Mapping[str, Any], known: frozenset[str], what: str
) -> None:
    unknown = sorted(members.keys() - known)
    if unknown:
        raise InvalidRequest(
            f'{unknown[0]!r} is no member of {what}; there are '
            f'{", ".join(sorted(known))}.'
        )


def _number(
    members: Mapping[str, Any], name: str, least: int, most: int
) -> int | None:
    value = members.get(name)
    if value is None:
        return None
    if not is_int(value) or not least <= value <= most:
        raise InvalidRequest(
            f'"{name}" must be an integer of {least} to {most}.'
        )
    return int(value)


class _Conditions(msgspec.Struct, frozen=True):
    """A filter of a redrive, taken apart.

    :ivar facts: conditions on source and reason
    """

    facts: Filter
    body: Filter
    older_than: int | None
    newer_than: int | None


def _compiled(conditions: Any) -> _Conditions:
    if not isinstance(conditions, dict):
        raise InvalidRequest('"filter" must be an object.')
    _check_names(conditions, frozenset((*TEXTS, *AGES, BODY)), 'a filter')
    facts = {
        name: [value] if isinstance(value, str) else value
        for name in TEXTS
        if (value := conditions.get(name)) is not None
    }
    body = conditions.get(BODY)
    older, newer = (_number(conditions, name, 0, _MOST) for name in AGES)
    if older is not None and newer is not None and older >= newer:
        raise InvalidRequest(
            '"older_than" must be less than "newer_than", or no message could '
            'match.'
        )
    try:
        return _Conditions(
            body_filter.parse(facts, 'filter'),
            body_filter.parse({} if body is None else body, 'filter.body'),
            older,
            newer,
        )
    except InvalidFilter as error:
        raise InvalidRequest(str(error)) from None


class Selection:
    """The messages of a redrive.

    :param redrive: ages count back from its start
    """

    def __init__(self, redrive: Redrive, cipher: Cipher) -> None:
        self._redrive = redrive
        self._scope = redrive.scope
        self._cipher = cipher
        self._conditions = _compiled(redrive.filter)

    def is_newer(self, message: Message) -> bool:
        """Tell whether a message came after the redrive was requested."""
        return message.created_at > self._redrive.started_at

    def target(self, message: Message) -> Scope | None:
        """Return where a message goes, None if it stays."""
        if self.is_newer(message) or message.group is not None:
            return None
        letter = message_extras_codec.read(message.extras).dead_letter
        target = self._target(letter)
        if target is None or not self._matches(message, letter):
            return None
        return target

    def _target(self, letter: DeadLetter | None) -> Scope | None:
        if self._redrive.to is not None:
            return Scope(self._scope.project, self._redrive.to)
        if letter is None:
            return None
        kind = Kind.TOPIC if letter.is_topic else Kind.QUEUE
        target = Scope(self._scope.project, letter.queue, kind)
        return None if target == self._scope else target

    def _matches(self, message: Message, letter: DeadLetter | None) -> bool:
        wanted = self._conditions
        seconds = (
            self._redrive.started_at
            - (message.created_at if letter is None else letter.at)
        ) / 1000
        if wanted.older_than is not None and seconds < wanted.older_than:
            return False
        if wanted.newer_than is not None and seconds >= wanted.newer_than:
            return False
        facts = {}
        if letter is not None:
            facts = {'source': letter.queue, 'reason': letter.reason}
        return wanted.facts.matches(facts) and self._has_body(message)

    def _has_body(self, message: Message) -> bool:
        try:
            body = self._cipher.decrypt(message.body, self._scope, message.id)
        except UNREADABLE:
            # It is counted, and stays.
            return True
        return self._conditions.body.matches_text(body)
