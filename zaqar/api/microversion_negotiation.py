# SPDX-License-Identifier: Apache-2.0
"""Microversions of the API, and their negotiation.

:source: reference/http, "Microversions"; API-SIG, "Microversion Specification"
"""

import functools
import re

from zaqar.errors import InvalidRequest, NotAcceptable
from zaqar.microversion_constants import SERVICE, V2_0, V2_1, Version

#: The header in which requests name a version, and answers the one used.
HEADER = 'OpenStack-API-Version'

#: Its names in requests. The second one is the official service type, which
#: openstacksdk sends.
_NAMES = frozenset((SERVICE, 'message'))

#: Stands for the greatest version.
LATEST = 'latest'

#: No leading zeros, and few enough digits to be read quickly.
_VERSION = re.compile(r'(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})')

#: Characters of the longest header that is cached: callers choose it.
_LONGEST = 256

#: All that are supported, in order.
ALL = (V2_0, V2_1)
MIN, MAX = ALL[0], ALL[-1]


def requested(header: str) -> Version | None:
    """Return the version that a header names for us, None if none.

    :param header: entries of services, separated by commas; the last one of
        ours counts
    :raises InvalidRequest: our entry is malformed
    :raises NotAcceptable: the version is not supported
    """
    return (_cached if len(header) <= _LONGEST else _requested)(header)


def _requested(header: str) -> Version | None:
    version = None
    for entry in header.split(','):
        service, *values = entry.split()[:3] or ['']
        if service.lower() in _NAMES:
            version = _read(values)
    if version is not None and version not in ALL:
        raise NotAcceptable(
            f'Version {version} is not supported. The minimum is {MIN} and '
            f'the maximum is {MAX}.'
        )
    return version


_cached = functools.lru_cache(maxsize=64)(_requested)


def _read(values: list[str]) -> Version:
    text = values[0] if len(values) == 1 else ''
    if text.lower() == LATEST:
        return MAX
    match = _VERSION.fullmatch(text)
    if match is None:
        raise InvalidRequest(
            f'The header {HEADER} must name a version as in '
            f'"{MAX.header}", or "{SERVICE} {LATEST}".'
        )
    return Version(int(match[1]), int(match[2]))
