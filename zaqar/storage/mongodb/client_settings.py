# SPDX-License-Identifier: Apache-2.0
"""Settings of the client, by URI and options: TLS, write concern and times."""

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

from zaqar.errors import ConfigurationError, one_line

SCHEMES = ('mongodb', 'mongodb.fifo')

#: Old names of URI options, and the current ones.
_RENAMED = {
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

#: Bytes of the name of a database, and what is not in one.
MAX_NAME = 63
_BAD_NAME = frozenset('/\\. "$\0')

#: Errors of the library about a URI.
_URI_ERRORS = (PyMongoError, ValueError, TypeError, OSError, UserWarning)

CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_MS
)


class ClientSettings:
    """The parsed URI and options of a driver."""

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        self.uri = _current_uri(uri)
        self.unreliable = bool(options.get('unreliable'))
        self._certificate: int | None = None
        parsed = _parse(self.uri)
        self._tls = bool(parsed.get('tls'))
        self._name = str(parsed.get('appname', 'zaqar'))
        self._files = self._tls_files(options)
        self.write_concern = _write_concern(parsed, self.unreliable)

    def client(self) -> pymongo.MongoClient[dict[str, Any]]:
        """Return a client, which has not connected yet."""
        try:
            return pymongo.MongoClient(
                self.uri,
                appname=self._name,
                # Commands have shorter time-outs; these are for the threads
                # that monitor servers.
                connectTimeoutMS=2000,
                serverSelectionTimeoutMS=2000,
                waitQueueTimeoutMS=2000,
                heartbeatFrequencyMS=1000,
                **self._files,
            )
        except (PyMongoError, ValueError, TypeError, OSError) as error:
            raise ConfigurationError(_line(error)) from None

    def close(self) -> None:
        """Close the file with the client's certificate."""
        if self._certificate is not None:
            os.close(self._certificate)
            self._certificate = None

    def _tls_files(self, options: Mapping[str, Any]) -> dict[str, Any]:
        names = ('ssl_keyfile', 'ssl_certfile', 'ssl_ca_certs')
        paths = {name: options[name] for name in names if options.get(name)}
        if not self._tls:
            if paths:
                raise ConfigurationError(
                    f'{min(paths)} is set, but the URI does not ask for TLS; '
                    'add tls=true to it'
                )
            return {}
        arguments: dict[str, Any] = {}
        for name, path in paths.items():
            # A device or a pipe may never end.
            if not (os.path.isfile(path) and os.access(path, os.R_OK)):
                raise ConfigurationError(f'{name}: {path} cannot be read')
        if 'ssl_ca_certs' in paths:
            arguments['tlsCAFile'] = paths['ssl_ca_certs']
        if options.get('ssl_cert_reqs') == 'CERT_NONE':
            arguments['tlsAllowInvalidCertificates'] = True
        certificate = self._certificate_file(paths)
        if certificate:
            arguments['tlsCertificateKeyFile'] = certificate
        return arguments

    def _certificate_file(self, paths: Mapping[str, str]) -> str | None:
        """Return one file with certificate and key, as pymongo wants it."""
        certificate, key = paths.get('ssl_certfile'), paths.get('ssl_keyfile')
        if not certificate or key in (None, certificate):
            if key and not certificate:
                raise ConfigurationError(
                    'ssl_keyfile is set, but ssl_certfile is not'
                )
            return certificate
        # In memory: a key must not be copied on a disk.
        self._certificate = os.memfd_create('zaqar-mongodb')
        for path in (certificate, key):
            with open(str(path), 'rb') as file:
                os.write(self._certificate, file.read() + b'\n')
        return f'/proc/self/fd/{self._certificate}'


def check_name(name: str) -> None:
    """Refuse a name of a database that servers do not accept."""
    if len(name.encode()) > MAX_NAME or not _BAD_NAME.isdisjoint(name):
        raise ConfigurationError(
            f'database: "{name}" would be the name of a database, and has '
            f'more than {MAX_NAME} bytes or one of /\\. "$'
        )


def _current_uri(uri: str) -> str:
    """Return a URI with the schemes and options that pymongo knows."""
    scheme, separator, rest = uri.partition('://')
    if not separator:
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
    return _RENAMED.get(name, name), value


def _parse(uri: str) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():
            # Of an unknown option pymongo only warns.
            warnings.simplefilter('error')
            parsed: Mapping[str, Any] = uri_parser.parse_uri(
                uri, validate=True
            )
    except _URI_ERRORS as error:
        raise ConfigurationError(_unknown(uri) or _line(error)) from None
    options: Mapping[str, Any] = parsed['options']
    return options


def _unknown(uri: str) -> str | None:
    """Return the error for an unknown option, None if there is none.

    The library does not name it, since it may be part of a secret.
    """
    for name, _ in urllib.parse.parse_qsl(uri.partition('?')[2]):
        try:
            uri_parser.split_options(f'{name}=', validate=True)
        except _URI_ERRORS as error:
            if 'Unknown option' in str(error):
                return f'the URI cannot be used: unknown option "{name}"'
    return None


def _write_concern(
    options: Mapping[str, Any], unreliable: bool
) -> WriteConcern:
    """Return what a write waits for: a majority, and their journals."""
    w = options.get('w', 'majority')
    if w in (0, 1) and not unreliable:
        raise ConfigurationError(
            f'w={w} may lose what was acknowledged; leave it out, or set '
            '[DEFAULT] unreliable'
        )
    return WriteConcern(
        # Unacknowledged writes (w=0) would report nothing at all.
        w=w or 1,
        wtimeout=options.get('wtimeoutMS', options.get('wtimeoutms')),
        j=options.get('journal', True),
    )


def _line(error: BaseException) -> str:
    return f'the URI cannot be used: {one_line(error)}'
