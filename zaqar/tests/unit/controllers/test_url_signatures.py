# SPDX-License-Identifier: Apache-2.0
"""How signatures are compared."""

from __future__ import annotations

import hmac

import pytest

from zaqar.controllers.url_signatures import Grant, Signer
from zaqar.errors import InvalidRequest

GRANT = Grant(['/v2/queues/q'], ['GET'], 'p', '2099-01-01T00:00:00')


@pytest.mark.parametrize('method', ['GET\\nother', 'GET\nother', 'A\x00'])
def test_what_could_end_the_methods_is_neither_signed_nor_admitted(
    method: str,
) -> None:
    key = 'a key of some length'
    signer = Signer(key)
    end = '2099-01-01T00:00:00'
    with pytest.raises(InvalidRequest, match='methods'):
        signer.sign(Grant(['/v2/queues/q'], [method], 'p', end))
    # What was signed before that was so.
    text = '\\n'.join(('/v2/queues/q', f'GET,{method}', 'p', end))
    signed = hmac.new(key.encode(), text.encode(), 'sha256').hexdigest()
    grant = Grant(['/v2/queues/q'], ['GET', method], 'p', end)
    assert not signer.admits(grant, signed, 'GET', '/v2/queues/q')


@pytest.mark.proves('constant time')
@pytest.mark.parametrize('how', ['right', 'wrong', 'short', ''])
def test_signatures_are_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """No test can measure it; what is used has that for its purpose."""
    signer = Signer('a key of some length')
    right = signer.sign(GRANT)
    signatures = {
        'right': right,
        'wrong': '0' * 64,
        'short': right[:8],
        '': '',
    }
    compared = []
    compare = hmac.compare_digest

    def watch(one: bytes, other: bytes) -> bool:
        compared.append({one, other})
        return compare(one, other)

    monkeypatch.setattr(hmac, 'compare_digest', watch)
    admitted = signer.admits(GRANT, signatures[how], 'GET', '/v2/queues/q')
    assert admitted == (how == 'right')
    assert compared == [{right.encode(), signatures[how].encode()}]


@pytest.mark.proves('literal paths')
@pytest.mark.parametrize(
    ('path', 'is_open'),
    [
        ('/v2/queues/a.b/messages', True),
        ('/v2/queues/a.b/messages/1', True),
        ('/v2/queues/a.b/messages/', True),
        ('/v2/queues/a.b/messagesx', False),
        ('/v2/queues/a.b/message', False),
        ('/v2/queues/a.b', False),
        ('/v2/queues/aXb/messages', False),
        ('/v2/queues/a.b/MESSAGES', False),
        ('/v1/v2/queues/a.b/messages', False),
        ('', False),
    ],
)
def test_a_path_is_compared_as_it_is(path: str, is_open: bool) -> None:
    signer = Signer('a key of some length')
    paths = ['/v2/queues/a.b/messages']
    grant = Grant(paths, ['GET'], 'p', '2099-01-01T00:00:00')
    signature = signer.sign(grant)
    assert signer.admits(grant, signature, 'GET', path) == is_open
