# SPDX-License-Identifier: Apache-2.0
"""The Lua scripts of the package ``lua``."""

import enum
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources

from zaqar.storage.abstract_stores import TOKEN_LIFETIME
from zaqar.storage.redis import key_names

#: Messages that a script frees or removes before its own work: in the first
#: call, and in the next ones.
FIRST_BUDGET = 200
NEXT_BUDGET = 1000


#: A function of a script, which begins and ends without indentation.
_FUNCTION = re.compile(
    r'(?:^--.*\n)*^local function (\w+)\(.*\n(?:(?!end\n).*\n)*end\n', re.M
)
_COMMENT = re.compile('--.*')
#: A word that may name a function: no field of a table.
_WORD = re.compile(r'(?<!\w)(?<!\w\.)\w+\b(?! = )')

#: A key in ``lua/queue.lua``: its name, and its number among all of a queue.
_KEY = re.compile(r'\b(\w+) = KEYS\[at \+ (\d+)\],')


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
    :ivar letters: of the keys that it takes, see :data:`key_names.OF_QUEUE`
    :ivar shared: how many of these it takes of another queue, too
    """

    text: str
    sha: str
    writes: bool = True
    letters: str = ''
    shared: int = 0

    def keys(self, prefix: str, qid: str, now: int) -> Sequence[str]:
        """Return the keys that it takes of a queue.

        :param now: see :func:`key_names.of_queue`
        """
        return key_names.some_of_queue(
            prefix, qid, now // TOKEN_LIFETIME, self.letters
        )


def _script(*names: str, writes: bool = True) -> Script:
    folder = resources.files(__package__) / 'lua'
    text = '\n'.join((folder / f'{name}.lua').read_text() for name in names)
    return _numbered(_without_unused(text), writes)


def _numbered(text: str, writes: bool) -> Script:
    """Return a script that takes no keys of a queue but those that it names.

    First those that it takes of any queue, then what it names of its own only.
    """
    letters = {
        key[1]: key_names.OF_QUEUE[int(key[2]) - 1]
        for key in _KEY.finditer(text)
    }
    used = [
        key
        for key in letters
        if 'unpack(KEYS)' in text or re.search(rf'\.{key}\b', text)
    ]
    shared = [key for key in used if re.search(rf'(?<!\bown)\.{key}\b', text)]
    used.sort(key=lambda key: key not in shared)

    def number(key: re.Match[str]) -> str:
        if key[1] not in used:
            return ''
        return f'{key[1]} = KEYS[at + {used.index(key[1]) + 1}],'

    text = _KEY.sub(number, text)
    text = text.replace('KEYS_OF_QUEUE = 0', f'KEYS_OF_QUEUE = {len(used)}')
    sha = hashlib.sha1(text.encode()).hexdigest()
    taken = ''.join(letters[key] for key in used)
    return Script(text, sha, writes, taken, len(shared))


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
