# SPDX-License-Identifier: Apache-2.0
"""Who may do what: requests of all operations, and what the guide expects."""

from __future__ import annotations

import csv
import datetime
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from zaqar.api import operation_table, policy_table_of_personas
from zaqar.api.operation import Operation
from zaqar.api.policy_table_of_personas import PERSONAS, Persona
from zaqar.controllers.url_signatures import Grant, Signer, shown

_GUIDE = pathlib.Path(__file__).parents[3] / 'doc/source/configuration'

_REFUSED = 'You are not authorized to complete this action.'


def over_http() -> Iterator[tuple[Operation, Persona]]:
    """Yield each operation with whoever can ask for it at all."""
    return (pair for pair in _pairs() if pair[0].http)


def over_websocket() -> Iterator[tuple[Operation, Persona]]:
    """Yield the same for frames."""
    for row, persona in _pairs():
        # They cannot be signed for topics; what is the connection's own is not
        # there.
        is_own = '/topics/' in row.target or row.member
        if not (persona.is_signed and is_own):
            yield row, persona


def _pairs() -> Iterator[tuple[Operation, Persona]]:
    for row in operation_table.OPERATIONS:
        for persona in PERSONAS:
            if policy_table_of_personas.is_within_reach(persona, row):
                yield row, persona


def path(row: Operation) -> str:
    """Return the path of a request in which everything is called "x"."""
    return re.sub(r'{\w+}', 'x', row.target)


def body(row: Operation) -> Mapping[str, str]:
    """Return the body of such a frame."""
    names = re.findall(r'{(\w+)}', row.target)
    return dict.fromkeys([row.member, *names] if row.member else names, 'x')


def signed_request(
    signer: Signer, project: str, row: Operation
) -> dict[str, str]:
    """Return the headers of a request that is signed."""
    return signed(signer, project, [path(row)], [row.method])


def signed_frame(
    signer: Signer, project: str, row: Operation
) -> dict[str, str]:
    """Return the headers of a frame that is signed."""
    folder = '/'.join(path(row).split('/')[:5])
    return signed(signer, project, [folder], [row.method or 'GET'])


def signed(
    signer: Signer, project: str, paths: Sequence[str], methods: Sequence[str]
) -> dict[str, str]:
    """Return the headers of a signature."""
    expires = shown(signer.now() + datetime.timedelta(hours=1))
    grant = Grant(paths, methods, project, expires)
    return {
        'URL-Signature': signer.sign(grant),
        'URL-Expires': expires,
        'URL-Methods': ','.join(methods),
        'URL-Paths': ','.join(paths),
    }


def request_passes(row: Operation, status: int, document: Any) -> bool:
    """Tell whether a request has passed the policy."""
    assert status < 500, (row.name, status, document)
    assert status != 401, (row.name, document)
    title = (document or {}).get('title')
    # Its signature counts, and so does what it is sent to.
    assert document != {'title': '404 Not Found'}, row.name
    return status != 403 or title != 'Not authorized'


def frame_passes(row: Operation, status: int, document: Any) -> bool:
    """Tell whether a frame has passed the policy."""
    assert status < 500, (row.name, status, document)
    if status != 403:
        return True
    assert document['error'] == _REFUSED, (row.name, document)
    return False


def differences(
    asked: Iterable[tuple[Operation, Persona, bool]],
) -> list[tuple[str, str, bool]]:
    """Return what is otherwise than the guide says; all has been asked."""
    lines = csv.DictReader((_GUIDE / 'roles.csv').read_text().splitlines())
    expected = {
        (line['Action'], persona.name): line[persona.name] == 'yes'
        for line in lines
        for persona in PERSONAS
    }
    answers = list(asked)
    assert len(answers) > 400
    return [
        (row.name, persona.name, may)
        for row, persona, may in answers
        if expected[row.name, persona.name] is not may
    ]
