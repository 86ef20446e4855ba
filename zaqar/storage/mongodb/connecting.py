# SPDX-License-Identifier: Apache-2.0
"""From a URI and options to a client: TLS, write concern, time-outs."""

from __future__ import annotations

import os
import urllib.parse
import warnings
from collections.abc import Mapping
from typing import Any

import pymongo
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import uri_parser
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

from zaqar.errors import ConfigurationError

SCHEMES = ('mongodb', 'mongodb.fifo')

#: Old names in URIs, and what they are called now.
_OLD = {
    'ssl': 'tls',
    'ssl_ca_certs': 'tlsCAFile',
    'ssl_certfile': 'tlsCertificateKeyFile',
    'ssl_match_hostname': 'tlsAllowInvalidHostnames',
    'ssl_cert_reqs': 'tlsAllowInvalidCertificates',
}
_VALUES = {
    'ssl_match_hostname': {'true': 'false', 'false': 'true'},
    'ssl_cert_reqs': {'CERT_NONE': 'true'},
}

#: What the library says of a URI that it does not like.
_FAULTS = (PyMongoError, ValueError, TypeError, OSError, UserWarning)

CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_MS
)


class Settings:
    """What a URI and the options of a driver say.

    :raises ConfigurationError: one of them is wrong
    """

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        self.uri = _modern(uri)
        self.unreliable = bool(options.get('unreliable'))
        self.database = options.get('database') or 'zaqar'
        self._certificate: int | None = None
        given = _parse(self.uri)
        self._tls = bool(given.get('tls'))
        self._name = str(given.get('appname', 'zaqar'))
        self._files = self._tls_files(options)
        self.write_concern = _write_concern(given, self.unreliable)

    def client(self) -> pymongo.MongoClient[dict[str, Any]]:
        """Return a client, which has connected to nothing yet."""
        try:
            return pymongo.MongoClient(
                self.uri,
                appname=self._name,
                # Whoever asks has a shorter patience; these are for those
                # who watch the servers.
                connectTimeoutMS=2000,
                serverSelectionTimeoutMS=2000,
                waitQueueTimeoutMS=2000,
                heartbeatFrequencyMS=1000,
                **self._files,
            )
        except (PyMongoError, ValueError, TypeError, OSError) as error:
            raise ConfigurationError(_line(error)) from None

    def close(self) -> None:
        """Forget the client's certificate."""
        if self._certificate is not None:
            os.close(self._certificate)
            self._certificate = None

    def _tls_files(self, options: Mapping[str, Any]) -> dict[str, Any]:
        names = ('ssl_keyfile', 'ssl_certfile', 'ssl_ca_certs')
        given = {name: options[name] for name in names if options.get(name)}
        if not self._tls:
            if given:
                raise ConfigurationError(
                    f'{min(given)} is set, but the URI does not ask for TLS; '
                    'add tls=true to it'
                )
            return {}
        found: dict[str, Any] = {}
        for name, path in given.items():
            # A device or a pipe may never end.
            if not (os.path.isfile(path) and os.access(path, os.R_OK)):
                raise ConfigurationError(f'{name}: {path} cannot be read')
        if 'ssl_ca_certs' in given:
            found['tlsCAFile'] = given['ssl_ca_certs']
        if options.get('ssl_cert_reqs') == 'CERT_NONE':
            found['tlsAllowInvalidCertificates'] = True
        certificate = self._certificate_file(given)
        if certificate:
            found['tlsCertificateKeyFile'] = certificate
        return found

    def _certificate_file(self, given: Mapping[str, str]) -> str | None:
        """Return one file with certificate and key, as pymongo wants it."""
        certificate, key = given.get('ssl_certfile'), given.get('ssl_keyfile')
        if not certificate or key in (None, certificate):
            if key and not certificate:
                raise ConfigurationError(
                    'ssl_keyfile is set, but ssl_certfile is not'
                )
            return certificate
        # In memory: a key is not to be written to a disk again.
        self._certificate = os.memfd_create('zaqar-mongodb')
        for path in (certificate, key):
            with open(str(path), 'rb') as file:
                os.write(self._certificate, file.read() + b'\n')
        return f'/proc/self/fd/{self._certificate}'


def _modern(uri: str) -> str:
    """Return a URI as pymongo knows it."""
    scheme, found, rest = uri.partition('://')
    if not found:
        raise ConfigurationError('the URI is malformed')
    driver, plus, kind = scheme.partition('+')
    if driver not in SCHEMES:
        raise ConfigurationError(f'"{scheme}" is no scheme of this driver')
    place, _, query = rest.partition('?')
    if not query:
        return f'mongodb{plus}{kind}://{rest}'
    try:
        pairs = urllib.parse.parse_qsl(
            query, keep_blank_values=True, strict_parsing=True
        )
    except ValueError as error:
        raise ConfigurationError(_line(error)) from None
    query = urllib.parse.urlencode([_renamed(*pair) for pair in pairs])
    return f'mongodb{plus}{kind}://{place}?{query}'


def _renamed(name: str, value: str) -> tuple[str, str]:
    if name in _VALUES:
        value = _VALUES[name].get(value, 'false')
    return _OLD.get(name, name), value


def _parse(uri: str) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():
            # Of an unknown option pymongo only warns.
            warnings.simplefilter('error')
            found: Mapping[str, Any] = uri_parser.parse_uri(uri, validate=True)
    except _FAULTS as error:
        raise ConfigurationError(_unknown(uri) or _line(error)) from None
    options: Mapping[str, Any] = found['options']
    return options


def _unknown(uri: str) -> str | None:
    """Return what is said of an option that there is not.

    The library does not name it, since what stands there may be a secret.
    """
    for name, _ in urllib.parse.parse_qsl(uri.partition('?')[2]):
        try:
            uri_parser.split_options(f'{name}=', validate=True)
        except _FAULTS as error:
            if 'Unknown option' in str(error):
                return f'the URI cannot be used: unknown option "{name}"'
    return None


def _write_concern(given: Mapping[str, Any], unreliable: bool) -> WriteConcern:
    """Return what a write waits for: a majority, and their journals.

    :raises ConfigurationError: the URI wants less
    """
    w = given.get('w', 'majority')
    if w in (0, 1) and not unreliable:
        raise ConfigurationError(
            f'w={w} may lose what was acknowledged; leave it out, or set '
            '[DEFAULT] unreliable'
        )
    return WriteConcern(
        # Nothing is known of what nobody waits for.
        w=w or 1,
        wtimeout=given.get('wtimeoutMS', given.get('wtimeoutms')),
        j=given.get('journal', True),
    )


def _line(error: BaseException) -> str:
    text = ' '.join(str(error).split()) or type(error).__name__
    return f'the URI cannot be used: {text}'
