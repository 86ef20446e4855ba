# SPDX-License-Identifier: Apache-2.0
"""Names, projects and client ids."""

from __future__ import annotations

import pytest

from zaqar.api import client_project_queue_checks
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.errors import InvalidRequest
from zaqar.objects import Kind, Scope

UUID = '3381af92-2b9e-11e3-b191-71861300734c'
FREE = Limits(client_id_uuid_safe='off')


@pytest.mark.parametrize(
    'text',
    [
        UUID,
        UUID.replace('-', ''),
        UUID.upper(),
        f'{{{UUID}}}',
        f'urn:uuid:{UUID}',
    ],
)
@pytest.mark.parametrize('limits', [Limits(), FREE])
def test_every_spelling_of_a_uuid_is_one_client(
    text: str, limits: Limits
) -> None:
    assert client_project_queue_checks.client_id(text, limits) == UUID


@pytest.mark.parametrize('text', ['', 'x', UUID[:-1], 'z' * 32])
def test_what_is_no_uuid_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client_project_queue_checks.client_id(text, Limits())
    assert caught.value.title == 'Wrong UUID value'
    assert caught.value.description == 'Malformed hexadecimal UUID.'


def test_an_absent_client_id_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        client_project_queue_checks.client_id(None, FREE)
    assert caught.value.title == 'Missing header value'
    assert caught.value.description == 'The "Client-Id" header is required.'


@pytest.mark.parametrize('length', [10, 36])
def test_free_client_ids_have_a_length(length: int) -> None:
    assert (
        client_project_queue_checks.client_id('x' * length, FREE)
        == 'x' * length
    )


@pytest.mark.parametrize('length', [0, 9, 37])
def test_free_client_ids_of_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client_project_queue_checks.client_id('x' * length, FREE)
    assert caught.value.title == 'Wrong UUID value'
    assert caught.value.description == (
        'Length of client id must be at least 10 and no greater than 36.'
    )


@pytest.mark.parametrize(
    ('text', 'title'),
    [
        (None, 'Project-Id Missing'),
        ('', 'Empty project header not allowed'),
    ],
)
def test_a_request_needs_a_project(text: str | None, title: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client_project_queue_checks.project(text)
    assert caught.value.title == title


@pytest.mark.parametrize('name', ['a', 'A.b-c_9', '...', 'x' * 64, '-', '_'])
def test_a_name_may_hold_dots_dashes_and_underscores(name: str) -> None:
    assert client_project_queue_checks.scope(
        'p', {'queue_name': name}
    ) == Scope('p', name)
    assert client_project_queue_checks.scope(
        'p', {'topic_name': name}
    ) == Scope('p', name, Kind.TOPIC)


@pytest.mark.parametrize(
    'name', ['', '.', '..', 'x' * 65, 'a b', 'a@b', 'ä', 'a\n', 'a/b', 'a%']
)
@pytest.mark.parametrize('kind', ['queue', 'topic'])
def test_other_names_are_refused(name: str, kind: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client_project_queue_checks.scope('p', {f'{kind}_name': name})
    assert caught.value.title == f'Invalid {kind} identification'


@pytest.mark.parametrize('path', [{'queue_name': 'q'}, {}])
def test_a_project_has_256_characters_at_most(path: dict[str, str]) -> None:
    client_project_queue_checks.scope('p' * 256, path)
    with pytest.raises(InvalidRequest) as caught:
        client_project_queue_checks.scope('p' * 257, path)
    assert caught.value.title == 'Invalid queue identification'
