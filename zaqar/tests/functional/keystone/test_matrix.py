# SPDX-License-Identifier: Apache-2.0
"""No header is a way in: every route with whatever might be one.

The requests are made from the table of operations, so that a new row is in
the matrix as soon as it is in the table. They ask for things that are there,
and each would be granted to whoever may ask; the last part shows that.
"""

from __future__ import annotations

import datetime
import itertools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest

from zaqar import config_loading, service_assembly
from zaqar.api.operation import ADMIN, PUBLIC, Operation
from zaqar.controllers.url_signatures import Grant, Signer, shown
from zaqar.tests.functional.http.client import PATCH
from zaqar.tests.functional.http.conftest import VIRTUAL
from zaqar.tests.functional.keystone import conftest, rows
from zaqar.tests.functional.keystone.rows import SECRET, Caller, Place
from zaqar.tests.servers.keystone import Keystone

Headers = Mapping[str, str]

#: Of how many things at once a request is made up.
STRENGTH = 2

#: Routes where each signature meets all headers: one that a signature can
#: open, and one that none can.
EVERYTHING = {'message_list', 'queue_list'}

_MODES = f"""
[DEFAULT]
admin_mode = true
pooling = true
{VIRTUAL}
[signed_url]
secret_key = 0123456789abcdef
[quotas]
project_quotas = true
"""


@dataclass(frozen=True)
class People:
    """Who there is."""

    owner: Caller
    stranger: Caller
    late: str
    service: str
    signer: Signer


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where the application keeps what it has."""
    path: pathlib.Path = tmp_path_factory.mktemp('matrix')
    return path


@pytest.fixture(scope='module')
def people(keystone: Keystone, folder: pathlib.Path) -> Iterator[People]:
    """An application in this process, and those who ask it."""
    file = folder / 'zaqar.conf'
    text = conftest.configuration(keystone) + _MODES
    file.write_text(f'{text}[DEFAULT]\nstate_path = {folder}\n')
    conf = config_loading.load('zaqar-server', ['--config-file', str(file)])
    built = service_assembly.Service(conf)
    api = rows.application(built)

    def join(role: str) -> Caller:
        project = keystone.project()
        user = keystone.user(project, role)
        return Caller(api, keystone.token(user, project), project)

    owner, stranger = join('admin'), join('member')
    user = keystone.user(owner.project, 'admin')
    yield People(
        owner,
        stranger,
        keystone.minted_token(user, owner.project, -1),
        keystone.token(keystone.service, keystone.service_project),
        built.dispatcher.signer,
    )
    built.close()


@pytest.fixture
def place(people: People, folder: pathlib.Path) -> Iterator[Place]:
    """Things of the owner's to ask about."""
    filled = rows.make(people.owner, str(folder))
    yield filled
    filled.tidy()


@pytest.fixture(scope='module')
def unchanged(people: People, folder: pathlib.Path) -> Iterator[Place]:
    """The same for tests that change nothing, and make sure of it."""
    filled = rows.make(people.owner, str(folder))
    yield filled
    filled.tidy()


PROTECTED = [row for row in rows.PROTECTED if row.rule is not PUBLIC]

each_row = pytest.mark.parametrize(
    'row', rows.PROTECTED, ids=lambda row: row.name
)


def forged(project: str) -> Headers:
    """Return headers of an administrator, by every name they have had."""
    return {
        'X-Project-ID': project,
        'X-Tenant-Id': project,
        'X-Tenant': project,
        'X-Roles': 'admin',
        'X-Role': 'admin',
        'X-Service-Roles': 'admin,service',
        'X-User-Id': 'f' * 32,
        'X-Identity-Status': 'Confirmed',
        'X-Service-Identity-Status': 'Confirmed',
        'X-Is-Admin-Project': 'True',
        'OpenStack-System-Scope': 'all',
        'X-Domain-Id': 'default',
    }


def signed(
    signer: Signer,
    project: str,
    paths: Sequence[str],
    methods: Sequence[str],
    seconds: int = 600,
) -> dict[str, str]:
    """Return the headers of a request that is signed for these paths."""
    expires = shown(signer.now() + datetime.timedelta(seconds=seconds))
    grant = Grant(paths, methods, project, expires)
    return {
        'URL-Signature': signer.sign(grant),
        'URL-Paths': ','.join(paths),
        'URL-Methods': ','.join(methods),
        'URL-Expires': expires,
        'X-Project-ID': project,
    }


ALL = ('DELETE', 'GET', 'HEAD', 'PATCH', 'POST', 'PUT')


def signatures(
    people: People, method: str, path: str
) -> Mapping[str, Headers]:
    """Return signatures that do not open a path, by what is wrong."""
    signer, mine = people.signer, people.owner.project
    right = signed(signer, mine, [path], ALL)
    without = {key: {**right} for key in right if key != 'URL-Signature'}
    for key, headers in without.items():
        del headers[key]
    others = [other for other in ALL if other != method]
    bare = {key: value for key, value in right.items() if key[0] == 'U'}
    return {
        'empty': {**right, 'URL-Signature': ''},
        'garbage': {**right, 'URL-Signature': 'é' * 32},
        'upper case': {
            **right,
            'URL-Signature': right['URL-Signature'].upper(),
        },
        'only itself': {'URL-Signature': right['URL-Signature']},
        'of another queue': signed(
            signer,
            mine,
            ['/v2/queues/other', '/v2/queues/other/messages'],
            ALL,
        ),
        'of a longer name': signed(signer, mine, [f'{path}x'], ALL),
        'of a shorter name': signed(
            signer, mine, [path.rstrip('/')[:-1]], ALL
        ),
        'of a pattern': signed(signer, mine, ['/v2/.*', '.*', '('], ALL),
        'of another project': signed(
            signer, people.stranger.project, [path], ALL
        )
        | {'X-Project-ID': mine},
        'of another method': signed(signer, mine, [path], others),
        'expired': signed(signer, mine, [path], ALL, -1),
        'prolonged': {**right, 'URL-Expires': '2099-01-01T00:00:00'},
        'with a path more': {**right, 'URL-Paths': f'{path},/v2'},
        'with no project': {**bare, 'X-Tenant-Id': mine},
        **{f'without {key}': headers for key, headers in without.items()},
    }


def strangers(people: People) -> Mapping[str, Mapping[str, Headers]]:
    """Return what does not make somebody, by kind and by name."""
    return {
        'token': {'empty': {'X-Auth-Token': ''}},
        'service': {'empty': {'X-Service-Token': ''}},
        'identity': {
            'of the owner': forged(people.owner.project),
            'of nobody': forged(''),
        },
        'other': {
            'by every name': {
                'EXTRA-SPEC': 'messaging',
                # An old name of X-Auth-Token, to keystonemiddleware.
                'X-Storage-Token': 'garbage',
                'X-Subject-Token': people.owner.token,
                'Authorization': f'Bearer {people.owner.token}',
                'X-Forwarded-User': 'admin',
                'X-HTTP-Method-Override': 'OPTIONS',
                'Remote-User': 'admin',
            },
            'Origin': {'Origin': 'https://example.org'},
        },
    }


def combinations(
    kinds: Mapping[str, Mapping[str, Headers]],
) -> Iterator[tuple[str, Headers]]:
    """Yield all that can be made of up to two kinds, with its name."""
    yield 'nothing', {}
    for strength in range(1, STRENGTH + 1):
        for some in itertools.combinations(kinds, strength):
            for names in itertools.product(*(kinds[kind] for kind in some)):
                headers: dict[str, str] = {}
                for kind, name in zip(some, names, strict=True):
                    headers |= kinds[kind][name]
                chosen = zip(some, names, strict=True)
                text = ', '.join(f'{kind} {name}' for kind, name in chosen)
                yield text, headers


def asked_about(people: People) -> Iterator[tuple[str, Headers]]:
    """Yield what Keystone has to be asked about each time.

    Hence not in every combination, but with all the rest at once.
    """
    rest = {
        **strangers(people)['other']['by every name'],
        **forged(people.owner.project),
    }
    garbage = {'X-Auth-Token': 'gAAAAA' + 'x' * 180}
    yield 'garbage', {**rest, **garbage, 'X-Service-Token': people.service}
    # A service itself may pass on a token that expired in its hands.
    late = {'X-Auth-Token': people.late}
    yield 'late', {**rest, **late, 'X-Service-Token': people.owner.token}
    for name, token in _services(people).items():
        yield f'no user and a service {name}', {**rest, **token}


def _services(people: People) -> Mapping[str, Headers]:
    return {
        'garbage': {'X-Service-Token': 'garbage'},
        'good': {'X-Service-Token': people.service},
        'of a user': {'X-Service-Token': people.owner.token},
    }


@pytest.mark.proves('verified identity')
@each_row
def test_without_a_good_token_nobody_gets_in(
    people: People, unchanged: Place, row: Operation
) -> None:
    method, path, document = unchanged.request(row)
    before = unchanged.state()
    for name, headers in itertools.chain(
        combinations(strangers(people)), asked_about(people)
    ):
        sent = {'Content-Type': PATCH, **headers}
        answer = rows.send(people.owner.api, method, path, document, sent)
        assert answer.status == 401, (name, answer)
        assert SECRET.encode() not in answer.body, name
    assert unchanged.state() == before


def _beside(people: People) -> list[tuple[str, Headers]]:
    """Return what may stand beside a signature; first of all nothing."""
    kinds = {
        **strangers(people),
        'service': _services(people),
        'good token': {
            'of the owner': {'X-Auth-Token': people.owner.token},
            'of a stranger': {'X-Auth-Token': people.stranger.token},
        },
    }
    return list(combinations(kinds))


def _pairs(row: Operation, wrongs: int, besides: int) -> set[tuple[int, int]]:
    """Return which signatures meet which headers on a route, by number.

    All of them on the routes of ``EVERYTHING``. On any other each signature
    alone, and each set of headers beside one, which is another on the next
    route.
    """
    if row.name in EVERYTHING:
        return set(itertools.product(range(wrongs), range(besides)))
    first = rows.PROTECTED.index(row)
    turns = {((first + other) % wrongs, other) for other in range(besides)}
    return turns | {(wrong, 0) for wrong in range(wrongs)}


@pytest.mark.proves('one authentication method')
@each_row
def test_a_signature_that_does_not_hold_is_404_whatever_stands_beside_it(
    people: People, unchanged: Place, row: Operation
) -> None:
    method, path, document = unchanged.request(row)
    before = unchanged.state()
    wrongs = list(signatures(people, method, path.partition('?')[0]).items())
    besides = _beside(people)
    for one, other in _pairs(row, len(wrongs), len(besides)):
        (wrong, signature), (name, headers) = wrongs[one], besides[other]
        # The signature's own headers are what is to be judged.
        sent = {'Content-Type': PATCH, **headers, **signature}
        if wrong in ('with no project', 'without X-Project-ID'):
            sent.pop('X-Project-ID', None)
        answer = rows.send(people.owner.api, method, path, document, sent)
        assert answer.status == 404, (wrong, name, answer)
        assert answer.body in (b'', b'{"title":"404 Not Found"}'), answer
    assert unchanged.state() == before


def test_every_signature_meets_all_headers_on_some_other_route(
    people: People,
) -> None:
    wrongs = len(signatures(people, 'GET', '/v2/queues'))
    besides = len(_beside(people))
    met = set[tuple[int, int]]()
    for row in rows.PROTECTED:
        if row.name not in EVERYTHING:
            met |= _pairs(row, wrongs, besides)
    assert len(met) == wrongs * besides
    assert {row.name for row in rows.PROTECTED} >= EVERYTHING


@pytest.mark.proves('verified identity')
@each_row
def test_a_member_of_another_project_gets_nothing_by_any_header(
    people: People, place: Place, row: Operation
) -> None:
    method, path, document = place.request(row)
    before = place.state()
    kinds = {**strangers(people), 'service': _services(people)}
    # His own token takes the place of those that are none.
    del kinds['token']
    for name, headers in combinations(kinds):
        sent = {
            'Content-Type': PATCH,
            **headers,
            'X-Auth-Token': people.stranger.token,
        }
        answer = rows.send(people.owner.api, method, path, document, sent)
        # A service token that is none spoils a good one beside it.
        spoilt = {401} if 'service' in name else set()
        allowed = {403} if row.rule.default == ADMIN else {404, *_fine(row)}
        assert answer.status in allowed | spoilt, (name, answer)
        shown = answer.body
        for value in _told(place, row):
            shown = shown.replace(value.encode(), b'')
        assert SECRET.encode() not in shown, (name, answer)
    assert place.state() == before


def _told(place: Place, row: Operation) -> Sequence[str]:
    """Return what an answer may repeat, or tell everybody."""
    if row.path.startswith('/v2/flavors'):
        # Flavors are for all projects to see, with the names of their pools.
        return [place.values['flavored']]
    return [place.values['queue_name']]


def _answers(row: Operation) -> Sequence[int]:
    """Return the statuses of an answer to whoever may ask."""
    # No attempt is there to be repeated.
    return [404] if '{attempt_id}' in row.path else _fine(row)


def _fine(row: Operation) -> Sequence[int]:
    return [status for status in row.responses if status < 400]


@each_row
def test_who_may_ask_is_answered(
    people: People, place: Place, row: Operation
) -> None:
    method, path, document = place.request(row)
    answer = people.owner.ask(method, path, document)
    assert answer.status in _answers(row), answer


@pytest.mark.parametrize(
    'row',
    [
        row
        for row in PROTECTED
        if '_name}/' in row.path
        and not row.needs
        # No signature shows it.
        and not row.path.endswith('/secret')
    ],
    ids=lambda row: row.name,
)
def test_whom_a_signature_lets_in_is_answered(
    people: People, place: Place, row: Operation
) -> None:
    method, path, document = place.request(row)
    bare = path.partition('?')[0]
    headers = signed(people.signer, people.owner.project, [bare], [method])
    sent = {'Content-Type': PATCH, **headers}
    answer = rows.send(people.owner.api, method, path, document, sent)
    assert answer.status in _answers(row), answer


@pytest.mark.proves('signed requests have no user')
@pytest.mark.parametrize(
    'row',
    [row for row in PROTECTED if row.rule.default == ADMIN],
    ids=lambda row: row.name,
)
def test_a_signature_makes_no_administrator(
    people: People, place: Place, row: Operation
) -> None:
    method, path, document = place.request(row)
    before = place.state()
    bare = path.partition('?')[0]
    headers = signed(people.signer, people.owner.project, [bare], [method])
    for roles in ({}, forged(people.owner.project)):
        sent = {'Content-Type': PATCH, **roles, **headers}
        answer = rows.send(people.owner.api, method, path, document, sent)
        assert answer.status == 403, answer
    assert place.state() == before
