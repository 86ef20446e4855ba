# SPDX-License-Identifier: Apache-2.0
"""The Lua scripts of the package ``lua``."""

import enum
import hashlib
import re
from dataclasses import dataclass, replace
from importlib import resources

#: Messages that a script frees or removes before its own work: in the first
#: call, and in the next ones.
FIRST_BUDGET = 200
NEXT_BUDGET = 1000


#: A function of a script, which begins and ends without indentation.
_FUNCTION = re.compile(
    r'(?:^--.*\n)*^local function (\w+)\(.*\n(?:(?!end\n).*\n)*end\n', re.M
)
_COMMENT = re.compile('--.*')
_WORD = re.compile(r'\w+')


class Status(enum.IntEnum):
    """What answers begin with; see ``lua/queue.lua``."""

    OK = 0
    AGAIN = 1
    GONE = 2
    FULL = 3
    CLAIMED = 4
    INVALID = 5
    UNKNOWN = 6
    STALE = 7
    REUSED = 8


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the hash by which servers cache it.

    :ivar writes: whether to wait for replicas, if so configured
    """

    text: str
    sha: str
    writes: bool = True


def _script(*names: str, writes: bool = True) -> Script:
    folder = resources.files(__package__) / 'lua'
    text = '\n'.join((folder / f'{name}.lua').read_text() for name in names)
    text = _without_unused(text)
    return Script(text, hashlib.sha1(text.encode()).hexdigest(), writes)


def _without_unused(text: str) -> str:
    """Return a script without the functions that it does not call.

    The server makes each function anew whenever the script runs.
    """
    used = _words(_FUNCTION.sub('', text))
    left = [*_FUNCTION.finditer(text)]
    while more := [function for function in left if function[1] in used]:
        left = [function for function in left if function[1] not in used]
        used = used.union(*(_words(function[0]) for function in more))
    for function in left:
        text = text.replace(function[0], '', 1)
    return text


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(_COMMENT.sub('', text)))


def _of_queue(*names: str, writes: bool = True) -> Script:
    return _script('queue', *names, writes=writes)


POST = _of_queue('post')
NOTICED = _of_queue('noticed')
LIST = _of_queue('list', writes=False)
GET = _of_queue('get', writes=False)
DELETE = _of_queue('delete')
DELETE_MANY = _of_queue('delete_many')
POP = _of_queue('groups', 'pop')
CLAIM = _of_queue('groups', 'claim')
CLAIMED = _of_queue('claimed', writes=False)
RENEW = _of_queue('renew')
RELEASE = _of_queue('release')
SETTLE = _of_queue('settle')
GROUP = _of_queue('group', writes=False)
STATS = _of_queue('stats', writes=False)
PURGE = _of_queue('purge')
DROP = _of_queue('drop')
SWEEP = _of_queue('sweep')
MARK = _of_queue('mark')
READ_MARK = replace(MARK, writes=False)
REQUIRE = _of_queue('require')
AVAILABILITY = _of_queue('availability', writes=False)
BYTES = _of_queue('bytes')
WATCH = _of_queue('watch', writes=False)

RECORD = _script('record')
RECORDS = _script('records', writes=False)
LEASE = _script('lease', writes=False)
