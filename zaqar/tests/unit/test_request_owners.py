# SPDX-License-Identifier: Apache-2.0
"""Whose requests are whose, before their callers are authenticated."""

from zaqar.transport.wsgi.request_owners import KnownCallers


def test_whoever_shows_nothing_is_of_no_project() -> None:
    known = KnownCallers()
    known.note({'HTTP_X_AUTH_TOKEN': 'token'}, 'p')
    known.note({'HTTP_AUTHORIZATION': 'AWS4-HMAC-SHA256 ...'}, 'q')
    assert known.project({'HTTP_X_AUTH_TOKEN': 'token'}) == 'p'
    assert known.project({'HTTP_AUTHORIZATION': 'another'}) == ''
