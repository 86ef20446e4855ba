# SPDX-License-Identifier: Apache-2.0
"""The keys and functions that scripts on Redis are left with."""

import re

import pytest

from zaqar.storage.redis import key_names, scripts
from zaqar.storage.redis.scripts import Script

_OF_QUEUE = {
    name: script
    for name, script in vars(scripts).items()
    if isinstance(script, Script) and 'own.' in script.text
}


@pytest.mark.parametrize('name', _OF_QUEUE)
def test_a_script_numbers_the_keys_it_takes(name: str) -> None:
    script = _OF_QUEUE[name]
    keys = re.findall(r'(\w+) = KEYS\[at \+ (\d+)\]', script.text)
    numbers = sorted(int(number) for _, number in keys)
    assert numbers == [*range(1, len(script.letters) + 1)]
    assert f'KEYS_OF_QUEUE = {len(numbers)}\n' in script.text
    used = {*re.findall(r'\b(?:own|q|outbox)\.(\w+)', script.text)}
    assert used <= {field for field, _ in keys}


def test_the_names_of_keys_are_those_of_all_in_another_order() -> None:
    now = 1_700_000_000_000
    every = key_names.of_queue('zaqar', 'q', now)
    assert [*every[:2], *every[-2:]] == [
        *('zaqar:{q}:s', 'zaqar:{q}:m'),
        *('zaqar:{q}:t2833333', 'zaqar:{q}:t2833332'),
    ]
    assert scripts.DROP.keys('zaqar', 'q', now) == every
    keys = scripts.POST.keys('zaqar', 'q', now)
    assert keys[0] == every[0]
    assert keys[-2:] == every[-2:]
    assert {*keys} < {*every}
    assert scripts.MARK.keys('zaqar', 'q', now) == (every[0],)


def test_another_queue_of_a_script_lacks_what_it_takes_of_its_own() -> None:
    post = scripts.POST
    others, rest = post.letters[: post.shared], post.letters[post.shared :]
    assert {*'smafdwxoyl'} <= {*others}
    assert {*'hjtT'} <= {*rest}


def test_a_script_lacks_functions_that_it_does_not_call() -> None:
    """A field of a table or a library has the name of none."""
    post = {*re.findall(r'^local function (\w+)', scripts.POST.text, re.M)}
    assert {'remove', 'append', 'regroup'} <= post
    assert not {'free', 'find', 'held', 'format', 'place_in'} & post
    claim = scripts.CLAIM.text
    assert 'local function free(' in claim
    assert 'local function held(' in claim
