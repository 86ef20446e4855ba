# SPDX-License-Identifier: Apache-2.0
"""The Lua scripts of the package ``lua``."""

import hashlib
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the hash by which servers cache it."""

    text: str
    sha: str


def _read(name: str) -> str:
    return (
        resources.files(__package__).joinpath('lua', f'{name}.lua').read_text()
    )


def _script(*names: str) -> Script:
    text = '\n'.join(_read(name) for name in names)
    return Script(text, hashlib.sha1(text.encode()).hexdigest())


def _of_queue(name: str) -> Script:
    return _script('queue', name)


POST = _of_queue('post')
LIST = _of_queue('list')
GET = _of_queue('get')
DELETE = _of_queue('delete')
DELETE_MANY = _of_queue('delete_many')
POP = _of_queue('pop')
CLAIM = _of_queue('claim')
CLAIMED = _of_queue('claimed')
RENEW = _of_queue('renew')
RELEASE = _of_queue('release')
STATS = _of_queue('stats')
PURGE = _of_queue('purge')
DROP = _of_queue('drop')
SWEEP = _of_queue('sweep')
MARK = _of_queue('mark')
REQUIRE = _of_queue('require')

RECORD = _script('record')
RECORDS = _script('records')
LEASE = _script('lease')
