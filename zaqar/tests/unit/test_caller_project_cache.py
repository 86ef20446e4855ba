# SPDX-License-Identifier: Apache-2.0
"""Whose requests are whose, before their callers are authenticated."""

from zaqar.transport.wsgi.caller_project_cache import CallerProjectCache


def test_whoever_shows_nothing_is_of_no_project() -> None:
    known = CallerProjectCache()
    known.note({'HTTP_X_AUTH_TOKEN': 'token'}, 'p')
    known.note({'HTTP_AUTHORIZATION': 'AWS4-HMAC-SHA256 ...'}, 'q')
    assert known.project({'HTTP_X_AUTH_TOKEN': 'token'}) == 'p'
    assert known.project({'HTTP_AUTHORIZATION': 'another'}) == ''


def _sqs(access: str, signature: str) -> dict[str, str]:
    header = f'AWS4-HMAC-SHA256 Credential={access}/d/r/sqs/aws4_request'
    return {
        'PATH_INFO': '/sqs/p/jobs',
        'HTTP_AUTHORIZATION': f'{header}, Signature={signature}',
    }


def test_clients_of_sqs_are_known_by_their_access_keys_alone() -> None:
    known = CallerProjectCache()
    one = _sqs('a', '1')
    # What a client proves its project by is not this.
    known.note({**one, 'HTTP_X_PROJECT_ID': 'b'}, 'p')
    assert known.project(_sqs('a', '2')) == 'p'
    assert known.project(_sqs('b', '1')) == ''
    assert known.project({'HTTP_X_PROJECT_ID': 'b'}) == ''
