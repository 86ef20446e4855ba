# SPDX-License-Identifier: Apache-2.0
"""How many steps a regular expression takes on a text.

Python does not tell, and time depends on the machine. Here a pattern is
matched as its engine matches it, by trying one way after the other, with each
try counted.
"""

from __future__ import annotations

import re
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterator
from typing import Any

_CATEGORIES = {
    op.CATEGORY_DIGIT: str.isdecimal,
    op.CATEGORY_SPACE: str.isspace,
    op.CATEGORY_WORD: lambda each: each.isalnum() or each == '_',
}

_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


def steps(pattern: re.Pattern[Any], text: str, *, searched: bool) -> int:
    """Return the steps of going through a whole text.

    :param searched: looked for everywhere, not at the beginning alone
    """
    matcher = _Matcher(text, pattern.flags)
    tree = list(parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE))
    at = 0
    while at <= len(text):
        end = next(matcher.ends(tree, 0, at), None)
        if not searched:
            break
        at = at + 1 if end is None else max(end, at + 1)
    return matcher.steps


class _Matcher:
    def __init__(self, text: str, flags: int) -> None:
        self.steps = 0
        self._text = text
        self._flags = flags

    def ends(self, tree: Any, index: int, at: int) -> Iterator[int]:
        """Yield where the rest of a pattern may end, best first."""
        self.steps += 1
        if index == len(tree):
            yield at
            return
        for after in self._one(*tree[index], at):
            yield from self.ends(tree, index + 1, after)

    def _one(self, code: Any, what: Any, at: int) -> Iterator[int]:
        if code in _REPEATS:
            least, most, body = what
            tries = self._repeated(code, list(body), least, most, at, 0)
            if code is op.POSSESSIVE_REPEAT:
                tries = iter(
                    [end for end in [next(tries, None)] if end is not None]
                )
            yield from tries
        elif code is op.SUBPATTERN:
            yield from self.ends(list(what[3]), 0, at)
        elif code is op.ATOMIC_GROUP:
            end = next(self.ends(list(what), 0, at), None)
            if end is not None:
                yield end
        elif code is op.BRANCH:
            for branch in what[1]:
                yield from self.ends(list(branch), 0, at)
        elif code in (op.ASSERT, op.ASSERT_NOT):
            direction, body = what
            # All of ours look at one character, ahead or behind.
            start = at if direction > 0 else at - 1
            holds = start >= 0 and any(
                True for _ in self.ends(list(body), 0, start)
            )
            if holds == (code is op.ASSERT):
                yield at
        elif code is op.AT:
            if self._is_at(what, at):
                yield at
        elif at < len(self._text) and self._is(code, what, self._text[at]):
            yield at + 1

    def _repeated(
        self, code: Any, body: Any, least: int, most: Any, at: int, done: int
    ) -> Iterator[int]:
        if len(body) == 1 and body[0][0] in (
            op.IN,
            op.LITERAL,
            op.NOT_LITERAL,
            op.ANY,
        ):
            yield from self._run(code, body[0], least, most, at)
            return
        if code is op.MIN_REPEAT and done >= least:
            yield at
        if most is op.MAXREPEAT or done < most:
            for after in self.ends(body, 0, at):
                if after > at:
                    yield from self._repeated(
                        code, body, least, most, after, done + 1
                    )
        if code is not op.MIN_REPEAT and done >= least:
            yield at

    def _run(
        self, code: Any, item: Any, least: int, most: Any, at: int
    ) -> Iterator[int]:
        """Repeat a single character, without recursion."""
        limit = len(self._text) - at
        if most is not op.MAXREPEAT:
            limit = min(limit, int(most))
        count = 0
        while count < limit and self._is(*item, self._text[at + count]):
            self.steps += 1
            count += 1
            if code is op.MIN_REPEAT and count >= least:
                yield at + count
        if code is not op.MIN_REPEAT:
            for taken in range(count, least - 1, -1):
                self.steps += 1
                yield at + taken

    def _is(self, code: Any, what: Any, each: str) -> bool:
        if code is op.LITERAL:
            return ord(each) == what
        if code is op.NOT_LITERAL:
            return ord(each) != what
        if code is op.ANY:
            return bool(self._flags & re.DOTALL) or each != '\n'
        if code is op.RANGE:
            return bool(what[0] <= ord(each) <= what[1])
        if code is op.CATEGORY:
            return bool(_CATEGORIES[what](each))
        if code is not op.IN:
            raise NotImplementedError(code)
        negated = what[0][0] is op.NEGATE
        items = what[1:] if negated else what
        return any(self._is(*item, each) for item in items) != negated

    def _is_at(self, where: Any, at: int) -> bool:
        if where in (op.AT_BEGINNING, op.AT_BEGINNING_STRING):
            return at == 0
        if where in (op.AT_END, op.AT_END_STRING):
            return at == len(self._text)
        if where is op.AT_BOUNDARY:
            around = [
                0 <= place < len(self._text)
                and bool(_CATEGORIES[op.CATEGORY_WORD](self._text[place]))
                for place in (at - 1, at)
            ]
            return around[0] != around[1]
        raise NotImplementedError(where)
