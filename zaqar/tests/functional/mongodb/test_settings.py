# SPDX-License-Identifier: Apache-2.0
"""URIs, TLS, passwords, partitions, and servers that are refused."""

from __future__ import annotations

import datetime
import ipaddress
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pymongo.database import Database
from pymongo.errors import OperationFailure

from zaqar.errors import ConfigurationError, QueueGone
from zaqar.storage.mongodb import driver_declaration, server_check
from zaqar.tests.contract.mongodb_commands import RECORDER
from zaqar.tests.contract.probe import Hand, Probe, bodies, token
from zaqar.tests.functional.mongodb.conftest import Open, OpenRecords
from zaqar.tests.servers.mongodb import MongoDB

Start = Callable[..., MongoDB]


def refusal(uri: str, **options: Any) -> str:
    """Return why both planes cannot be opened, which is one line."""
    texts = set()
    for opening in (
        driver_declaration.DRIVER.open_messages,
        driver_declaration.FIFO.open_messages,
        driver_declaration.DRIVER.open_management,
    ):
        with pytest.raises(ConfigurationError) as caught:
            opening(uri, options)
        texts.add(str(caught.value))
    (text,) = texts
    assert '\n' not in text
    return text


def works(queue: Probe) -> None:
    """Check that a queue is of use."""
    queue.post('a', 'b', limit=5)
    claim = queue.take(1)
    queue.delete(claim.messages[0].id, claim.id)
    assert bodies(queue.pop()) == ['b']
    queue.purge()
    assert queue.stats().total == 0
    queue.drop()
    with pytest.raises(QueueGone):
        queue.post('c')


def test_a_set_of_one_is_refused_unless_unreliable(
    server: MongoDB, opened: Open
) -> None:
    assert 'replica set of one' in refusal(server.uri)
    works(Probe(opened(server.uri, unreliable=True), Hand()))


def test_a_standalone_server_is_refused_unless_unreliable(
    own_server: Start, opened: Open, opened_records: OpenRecords
) -> None:
    alone = own_server('--standalone')
    assert 'not replicated' in refusal(alone.uri)
    works(Probe(opened(alone.uri), Hand()))
    assert opened_records(alone.uri).create('queue', 'p', 'a', {})


@pytest.mark.parametrize('members', [3, 2])
def test_a_set_of_several_and_mongos_are_taken(members: int) -> None:
    hosts = [f'host{number}:27017' for number in range(members)]
    hello: dict[str, Any] = {'maxWireVersion': 9, 'setName': 'rs'}
    assert server_check.check({**hello, 'hosts': hosts}, False)
    split = {'hosts': hosts[:1], 'passives': hosts[1:]}
    assert server_check.check({**hello, **split}, False)
    assert server_check.check({'maxWireVersion': 21, 'msg': 'isdbgrid'}, False)


@pytest.mark.parametrize('hello', [{}, {'maxWireVersion': 8}])
def test_a_server_before_4_4_is_refused_even_if_unreliable(
    hello: Mapping[str, Any],
) -> None:
    hosts = ['a:1', 'b:1', 'c:1']
    with pytest.raises(ConfigurationError, match=r'4\.4'):
        server_check.check({**hello, 'hosts': hosts, 'setName': 'rs'}, True)


def test_a_server_before_4_4_2_knows_no_hello_and_is_refused(
    server: MongoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(*_arguments: Any, **_named: Any) -> NoReturn:
        raise OperationFailure('no such command: hello', 59)

    monkeypatch.setattr(Database, 'command', command)
    assert refusal(server.uri) == server_check.TOO_OLD


@pytest.mark.parametrize('name', ['a b', 'a.b', 'a/b', '$a', 'a' * 52])
def test_a_name_that_no_database_may_have_is_refused(
    server: MongoDB, name: str
) -> None:
    for opening in (
        driver_declaration.DRIVER.open_messages,
        driver_declaration.FIFO.open_messages,
    ):
        with pytest.raises(ConfigurationError, match='name of a database'):
            opening(server.uri, {'database': name})


@pytest.mark.parametrize(
    'option',
    [
        'readConcernLevel=snapshot',
        'readConcernLevel=linearizable',
        'readPreference=secondaryPreferred',
        'retryWrites=false',
        'timeoutMS=100',
    ],
)
def test_an_option_for_other_clients_changes_nothing(
    server: MongoDB, opened: Open, option: str
) -> None:
    before = len(RECORDER.faults)
    queue = Probe(opened(f'{server.uri}&{option}'), Hand())
    works(queue)
    queue = Probe(queue.store, Hand())
    queue.post('a')
    claim = queue.take(1)
    queue.delete_many(claim.messages[0].id, claim_ids=[claim.id])
    assert queue.everything() == []
    assert RECORDER.faults[before:] == []


@pytest.mark.parametrize('w', [0, 1])
def test_writes_that_wait_for_no_majority_are_refused(
    server: MongoDB, w: int
) -> None:
    assert f'w={w}' in refusal(f'{server.uri}&w={w}')


def test_writes_wait_for_a_majority_and_its_journals(
    server: MongoDB,
) -> None:
    assert concern(server.uri) == {'w': 'majority', 'j': True}
    assert concern(f'{server.uri}&w=3&journal=false') == {'w': 3, 'j': False}


def concern(uri: str) -> Mapping[str, Any]:
    """Return what writes wait for."""
    from zaqar.storage.mongodb.client_settings import ClientSettings

    return ClientSettings(uri, {}).write_concern.document


@pytest.mark.parametrize(
    ('uri', 'word'),
    [
        ('mongodb:/127.0.0.1', 'malformed'),
        ('mongodb://', 'host'),
        ('mongodb://127.0.0.1:port', 'Port'),
        ('mongodb://127.0.0.1:99999', 'Port'),
        ('mongodb://user@:1', ''),
        ('mongodb://a:b@c@d/', ''),
        ('mongodb://127.0.0.1/?replicaSet', ''),
        ('mongodb://127.0.0.1/?socket_timeout=1', '"socket_timeout"'),
        ('mongodb://127.0.0.1/?tls=maybe', ''),
        ('redis://127.0.0.1', 'no scheme'),
    ],
)
def test_a_malformed_uri_is_told_in_one_line(uri: str, word: str) -> None:
    assert word in refusal(uri)


def test_a_password_that_is_refused_is_told_at_the_start(
    own_server: Start, opened: Open
) -> None:
    server = own_server()
    with server.observer() as observer:
        observer.admin.command(
            'createUser',
            'zaqar',
            pwd='p/ss',
            roles=[{'role': 'root', 'db': 'admin'}],
        )
    server.process.stop()
    server.arguments = ('--auth',)
    server.start()
    right = server.uri.replace('//', '//zaqar:p%2Fss@')
    works(Probe(opened(right), Hand()))
    wrong = refusal(server.uri.replace('//', '//zaqar:no@'), unreliable=True)
    assert 'p%2Fss' not in wrong
    assert 'uthenticat' in wrong
    assert refusal(server.uri, unreliable=True)


@pytest.fixture(scope='module')
def papers(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with an authority, and a server's and a client's papers."""
    folder = tmp_path_factory.mktemp('papers')
    key, authority = _certificate(folder, 'ca', None)
    for name in ('server', 'client'):
        _certificate(folder, name, (key, authority))
    return folder


def test_tls_by_the_options_and_by_old_names_in_the_uri(
    own_server: Start, papers: pathlib.Path, opened: Open
) -> None:
    server = own_server_with_tls(own_server, papers)
    authority = str(papers / 'ca.crt')
    client = {
        'ssl_certfile': str(papers / 'client.crt'),
        'ssl_keyfile': str(papers / 'client.key'),
    }
    uri = f'{server.uri}&ssl=true'
    works(Probe(opened(uri, ssl_ca_certs=authority, **client), Hand()))
    uri += f'&ssl_ca_certs={authority}'
    works(Probe(opened(uri, **client), Hand()))
    works(Probe(opened(uri, ssl_cert_reqs='CERT_NONE', **client), Hand()))


def own_server_with_tls(own_server: Start, papers: pathlib.Path) -> MongoDB:
    """Start a server that wants to see the certificate of its clients."""
    return own_server(
        *('--tls-cert-file', str(papers / 'server.crt')),
        *('--tls-key-file', str(papers / 'server.key')),
        *('--tls-ca-file', str(papers / 'ca.crt')),
        '--tls-require-client-cert',
        tls=True,
        tlsAllowInvalidCertificates=True,
        tlsCertificateKeyFile=str(papers / 'client.pem'),
    )


def test_files_that_are_missing_or_of_no_use_are_told(
    server: MongoDB, papers: pathlib.Path
) -> None:
    authority = str(papers / 'ca.crt')
    assert 'tls=true' in refusal(server.uri, ssl_ca_certs=authority)
    secure = f'{server.uri}&tls=true'
    assert '/none' in refusal(secure, ssl_ca_certs='/none')
    assert 'ssl_certfile' in refusal(secure, ssl_keyfile=authority)
    assert refusal(secure, ssl_certfile=authority)


def test_queues_are_spread_over_databases_with_the_given_name(
    own_server: Start, opened: Open
) -> None:
    own = own_server()
    for fifo in (False, True):
        store = opened(own.uri, database='post', partitions=3, fifo=fifo)
        for _ in range(12):
            Probe(store, Hand()).post('x')
    with own.observer() as observer:
        sizes = {
            name: observer[name]['queue'].count_documents({})
            for name in observer.list_database_names()
            if name.startswith('post')
        }
    names = [
        f'post_messages{kind}_p{n}' for kind in ('', '_fifo') for n in range(3)
    ]
    assert sorted(sizes) == sorted(names)
    assert sum(sizes.values()) == 24
    assert max(sizes.values()) < 12


def test_stores_of_different_names_do_not_meet(
    server: MongoDB, opened: Open, opened_records: OpenRecords
) -> None:
    queue = Probe(opened(server.uri, database='one'), Hand())
    queue.post('a')
    other = Probe(opened(server.uri, database='two'), Hand(), queue.qid)
    assert other.everything() == []
    parent = token()
    assert opened_records(server.uri, database='one').create(
        'queue', parent, 'a', {}
    )
    assert (
        opened_records(server.uri, database='two').count('queue', parent) == 0
    )


@pytest.mark.parametrize(
    'text', ['$where', '$gt', '{"$ne": null}', '$$NOW', 'a.b', '\0', '\ud800']
)
def test_no_text_of_a_client_means_anything_to_the_server(
    queue: Probe, opened_records: OpenRecords, server: MongoDB, text: str
) -> None:
    (message_id,) = queue.post({text: text}, client=text)
    assert bodies(queue.walk()) == [{text: text}]
    assert list(queue.walk(exclude_client=text)) == []
    assert queue.get(text) == []
    assert queue.claimed(text) is None
    assert not queue.renew(text)
    queue.release(text)
    queue.delete(text)
    queue.delete_many(text)
    assert list(queue.walk(marker=text)) == []
    assert queue.get(message_id)
    if text != '\ud800':
        records = opened_records(server.uri)
        parent = token()
        assert records.create(text, parent + text, text, {text: text})
        listed = records.list(text, parent + text, after=None, limit=9)
        assert [(one.name, dict(one.data)) for one in listed] == [
            (text, {text: text})
        ]


def _certificate(
    folder: pathlib.Path, name: str, signer: Any
) -> tuple[Any, Any]:
    """Make a key and a certificate, in two files and in one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signing, issuer = signer or (key, None)
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(issuer is None, None), True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address('127.0.0.1'))]
            ),
            False,
        )
        .sign(signing, hashes.SHA256())
    )
    certificate = built.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / f'{name}.crt').write_bytes(certificate)
    (folder / f'{name}.key').write_bytes(secret)
    (folder / f'{name}.pem').write_bytes(certificate + secret)
    return key, built
