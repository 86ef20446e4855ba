# SPDX-License-Identifier: Apache-2.0
"""Options of MongoDB that a pool's URI may have.

Not among them is what logs in with the identity of this machine: the
mechanisms that take a token or a key from its surroundings.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote_plus

from zaqar.errors import ConfigurationError
from zaqar.storage import pool_uri_restrictions

_ALLOWED = (
    'appname',
    'authmechanism',
    'authsource',
    'compressors',
    'connect',
    'connecttimeoutms',
    'directconnection',
    'fsync',
    'heartbeatfrequencyms',
    'j',
    'journal',
    'loadbalanced',
    'localthresholdms',
    'maxconnecting',
    'maxidletimems',
    'maxpoolsize',
    'maxstalenessseconds',
    'minpoolsize',
    'readconcernlevel',
    'readpreference',
    'readpreferencetags',
    'replicaset',
    'retryreads',
    'retrywrites',
    'servermonitoringmode',
    'serverselectiontimeoutms',
    'sockettimeoutms',
    'srvmaxhosts',
    'srvservicename',
    'ssl',
    'ssl_cert_reqs',
    'ssl_match_hostname',
    'timeoutms',
    'tls',
    'tlsallowinvalidcertificates',
    'tlsallowinvalidhostnames',
    'tlscertificatekeyfilepassword',
    'tlsdisableocspendpointcheck',
    'tlsinsecure',
    'uuidrepresentation',
    'w',
    'waitqueuetimeoutms',
    'wtimeout',
    'wtimeoutms',
    'zlibcompressionlevel',
)
_FILES = (
    'ssl_ca_certs',
    'ssl_certfile',
    'tlscafile',
    'tlscertificatekeyfile',
    'tlscrlfile',
)
#: What the library splits options at; which of them depends on the others.
_SEPARATOR = re.compile(r'[&;\s]')

_MECHANISMS = (
    'DEFAULT',
    'MONGODB-X509',
    'PLAIN',
    'SCRAM-SHA-1',
    'SCRAM-SHA-256',
)


def check(uri: str) -> None:
    """Refuse what a pool may not name; see :mod:`.pool_uri_restrictions`."""
    options = list(_options(uri.partition('?')[2]))
    pool_uri_restrictions.check_options(options, _ALLOWED, _FILES)
    for name, value in options:
        if (
            name.lower() == 'authmechanism'
            and value.upper() not in _MECHANISMS
        ):
            raise ConfigurationError(
                'the option "authMechanism" of a pool must be one of '
                f'{", ".join(_MECHANISMS)}'
            )


def _options(query: str) -> Iterator[tuple[str, str]]:
    """Yield options as the library reads them: it decodes values alone."""
    for option in _SEPARATOR.split(query):
        if option:
            name, _, value = option.partition('=')
            yield name, unquote_plus(value)
