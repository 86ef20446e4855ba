# SPDX-License-Identifier: Apache-2.0
"""All that an owner of queues does in the console, each thing once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from zaqar.tests.functional.console.browser import User
from zaqar.tests.functional.console.producer import Producer
from zaqar.tests.servers.receivers import Receiver, answer

HOSTILE = '<img src=x onerror="document.title=1"><script>alert(1)</script>'

#: What a terminal, an eye or a number format would garble.
BINARY = 'a\x00\x1b[31m\x7f\u202eb\ufeff'

#: More digits than JavaScript's numbers have.
LONG = 1234567890123456789


def prepare(producer: Producer, receiver: Receiver) -> None:
    """Make queues, dead letters and subscriptions to be looked at."""
    for number in range(22):
        producer.ask('PUT', f'/busy-{number:02}', {})
    producer.ask('PUT', '/jobs', {'_dead_letter_queue': 'graves'})
    producer.ask('PUT', '/graves', {})
    producer.post('jobs', *({'dead': number} for number in range(3)))
    producer.reject('jobs', 'no such product', 3)
    receiver.behave = answer(404)
    producer.subscribe('jobs', receiver.url)


def look_around(user: User, producer: Producer, receiver: Receiver) -> None:
    """Do everything once, signed in already."""
    _queues(user, producer)
    _by_keyboard(user, producer)
    _messages(user, producer)
    _bodies(user, producer)
    _subscriptions(user, producer, receiver)
    _dead_letters(user, producer)
    _metadata(user, producer)
    _share(user, producer)
    _tail(user, producer)
    assert user.chrome.find_elements(By.CSS_SELECTOR, 'article img') == []
    assert user.complaints() == []


def _first(user: User) -> str:
    return user.texts('#queues tbody tr:first-child td:first-child')[0]


def _sorting(user: User) -> list[str]:
    """Return how the list is sorted, by what, and what the eye sees of it."""
    script = (
        'const [head, ...more] = document.querySelectorAll("th[aria-sort]");'
        'const button = head.querySelector("button");'
        'const { content } = getComputedStyle(button, "::after");'
        'return [head.getAttribute("aria-sort"), button.textContent,'
        ' content.split("/")[0].replace(/[" ]/g, ""), ...more.map(String)]'
    )
    sorting: list[str] = user.run(script)
    return sorting


def _queues(user: User, producer: Producer) -> None:
    user.sees('busy-00', '#queues td')
    assert len(user.texts('#queues tbody tr')) == 20
    # What is said while queues are read moves nothing.
    script = (
        "document.getElementById('done').textContent = arguments[0];"
        "return document.getElementById('main').getBoundingClientRect().top"
    )
    assert user.run(script, '20 queues were read.') == user.run(script, '')
    assert _sorting(user) == ['ascending', 'Name', '▲']
    user.presses('Next')
    user.sees('jobs', '#queues td')
    assert not user.leads_on()
    user.presses('Depth')
    user.until(lambda: _first(user) == 'graves', 'sorted')
    assert _sorting(user) == ['descending', 'Depth', '▼']
    assert user.texts('#queues tbody tr:first-child td.number')[:3] == [
        '3',
        '3',
        '0',
    ]
    # In this minute three came and three went, at the least.
    user.sees('Growth / min', '#queues th')
    # It reads again by itself, and draws what it saw.
    producer.post('jobs', 'one', 'two')
    script = (
        'return document.querySelector("tbody tr polyline")'
        '.getAttribute("points").split(" ").length'
    )
    user.until(lambda: user.run(script) > 1, 'a line')
    user.presses('Back')
    user.sees('busy-00', '#queues td')
    user.presses('Sort all queues')
    user.sees('24 queues, sorted all together', '#extent')
    user.until(lambda: _first(user) == 'graves', 'sorted')
    user.presses('Page by page')
    user.sees('The heads of columns', '#extent')
    user.fills('Names that begin with', 'jo')
    user.presses('Show')
    user.until(lambda: len(user.texts('#queues tbody tr')) == 1, 'one')
    # The list is shown already: the address stays.
    user.run('document.querySelector("h1 a").click()')
    user.sees('busy-00', '#queues td')
    assert user.run('return document.querySelector("label input").value') == ''
    user.fills('Names that begin with', 'jo')
    user.presses('Show')
    user.until(lambda: len(user.texts('#queues tbody tr')) == 1, 'one')
    user.fills('New queue', 'mine')
    user.presses('Create', agrees='Create the queue "mine"')
    user.sees('Queue "mine" was created', '#done')


def _by_keyboard(user: User, producer: Producer) -> None:
    user.tabs_to('jobs')
    user.types(Keys.ENTER)
    user.sees('Post a message')
    assert user.chrome.switch_to.active_element.text == 'jobs'
    user.tabs_to('Post a message')
    user.types(Keys.ENTER)
    user.tabs_to('Body')
    user.types('{"typed": true}')
    user.tabs_to('Post')
    user.types(Keys.ENTER)
    user.sees('Post one message to queue "jobs"', 'dialog')
    # Whoever does not agree changes nothing.
    user.types(Keys.ESCAPE)
    user.until(lambda: not user.texts('dialog'), 'no dialog')
    user.types(Keys.ENTER)
    user.sees('Post one message to queue "jobs"', 'dialog')
    user.types(Keys.ENTER)
    user.sees('The message was posted', '#done')
    user.sees('"typed": true', 'article pre')
    stats = producer.ask('GET', '/jobs/stats')['messages']
    assert stats['total'] == 3


def _messages(user: User, producer: Producer) -> None:
    user.presses('Purge the queue', agrees='Delete all messages')
    user.sees('was purged', '#done')
    assert producer.ask('GET', '/jobs/stats')['messages']['total'] == 0
    user.fills('Body', 'not JSON')
    user.presses('Post')
    user.sees('The body is not JSON', '#trouble')
    user.fills('Body', json.dumps(HOSTILE))
    user.fills('Delay', '600')
    user.presses('Post', agrees='Post one message')
    user.sees('<img src=x', 'article pre')
    user.sees('delayed until', 'article .state')
    first, *_ = producer.post('jobs', {'claimed': 1}, {'free': 2})
    producer.claim('jobs')
    user.presses('Refresh')
    user.sees('claimed now', f'{_article(first)} .state')
    user.sees('not claimed', 'article .state')
    user.run(
        f'document.querySelector({_article(first)!r} + " .row button").click()'
    )
    user.sees('State: claimed; not claimable', '.why')
    user.fills('After the marker', first)
    user.presses('Go')
    user.until(lambda: len(user.texts('article')) == 1, 'the rest')
    user.presses('Delete', agrees='Delete message')
    user.sees('was deleted', '#done')
    assert producer.ask('GET', '/jobs/stats')['messages']['total'] == 2


def _article(message: str) -> str:
    return f'article[id="m-{message}"]'


def _bodies(user: User, producer: Producer) -> None:
    huge = 'ä' * 100_000
    producer.post('bodies', HOSTILE, BINARY, {'n': LONG, 'x': 1.0})
    (name,) = producer.post('bodies', huge)
    user.visits('bodies', 'messages')
    user.sees(r'"a\u0000\u001b[31m\u007f\u202eb\ufeff"', 'article pre')
    user.sees(str(LONG), 'article pre')
    user.sees('"x": 1.0', 'article pre')
    assert not user.leads_on()
    producer.post('bodies', *range(7))
    user.presses('Refresh')
    user.until(user.leads_on, 'a full page')
    user.sees('Cut after 64 KiB of 200,002 bytes', '.hint')
    shown = max(user.texts('article pre'), key=len)
    assert len(shown.encode()) <= 64 * 1024 < len(shown.encode()) + 2
    user.run(
        f'document.querySelector("[aria-label=\'Download {name}\']").click()'
    )
    assert json.loads(user.downloaded(f'{name}.json')) == huge


def _subscriptions(user: User, producer: Producer, receiver: Receiver) -> None:
    receiver.wait(1)
    user.visits('jobs', 'subscriptions')
    user.sees(receiver.url, 'article h3')
    assert not user.leads_on()

    def failed() -> bool:
        # Notifiers write what they count about once a second. Drawn anew, so
        # that nothing that is still being read replaces what is used then.
        user.visits('jobs', 'subscriptions')
        return any(
            'Fails: ' in text and 'given up.' in text
            for text in user.texts('.verdict')
        )

    user.until(failed, 'a failure')
    user.sees('404', '.failure')
    user.presses('Attempts')
    user.sees('given_up', 'article td')
    receiver.behave = answer(200)
    count = len(receiver.got)
    user.presses('Resend', agrees='to this subscriber again')
    user.sees('It is being sent again', '#done')
    receiver.wait(count + 1)


def _dead_letters(user: User, producer: Producer) -> None:
    user.visits('jobs', 'dead')
    user.sees('The dead letters of "jobs" are in graves', '.verdict')
    user.visits('graves', 'dead')
    user.sees('Dead letter of "jobs": no such product', '.letter')
    user.fills('Only of reason', 'another')
    user.presses('Dry run')
    user.sees('Would redrive 0 of 3', '#dry')
    user.sees('each to where it came from', '#dry')
    user.fills('To queue', 'jobs')
    user.fills('Only of reason', 'no such product')
    user.presses('Dry run')
    user.sees('Would redrive 3 of 3', '#dry')
    user.sees('looked at, to "jobs".', '#dry')
    user.presses('Redrive', agrees='Redrive from "graves" 3 of 3 messages')
    user.sees('was started', '#done')
    user.sees('done', '#redrives td')
    user.sees('No dead letters on this page')
    bodies = producer.ask('GET', '/jobs/messages?echo=true')['messages']
    assert [one['body'] for one in bodies if 'dead' in one['body']] == [
        {'dead': 0},
        {'dead': 1},
        {'dead': 2},
    ]


def _metadata(user: User, producer: Producer) -> None:
    user.visits('jobs', 'metadata')
    user.sees('Lifetime of messages (seconds, 60 to 1209600)', 'label')
    user.fills('Lifetime of messages', '59')
    assert not user.run(
        'return document.querySelector("main form").checkValidity()'
    )
    user.fills('Lifetime of messages', '120')
    user.fills('How deliveries', '{"minimum_delay": 7}')
    user.presses('Save', agrees='set _default_message_ttl to 120')
    user.sees('The metadata were changed', '#done')
    metadata = producer.ask('GET', '/jobs')
    assert metadata['_default_message_ttl'] == 120
    assert metadata['_retry_policy'] == {'minimum_delay': 7}
    assert metadata['_dead_letter_queue'] == 'graves'
    user.fills('Lifetime of messages', '')
    user.presses('Save', agrees='unset _default_message_ttl')
    user.until(
        lambda: producer.ask('GET', '/jobs')['_default_message_ttl'] == 3600,
        'the default',
    )


def _share(user: User, producer: Producer) -> None:
    user.visits('mine', 'share')
    user.run(
        'document.querySelectorAll("input[type=checkbox]").forEach('
        '(one) => { one.checked = true; })'
    )
    user.presses('Make a pre-signed URL', agrees='until')
    user.sees('URL-Signature: ', '#commands pre')
    commands = user.texts('#commands pre')
    assert [one.split()[2] for one in commands] == [
        *('POST', 'GET', 'POST', 'DELETE', 'GET', 'POST'),
    ]
    # The claim, on an empty queue, then a list, a post and a pop.
    assert [_pasted(one) for one in commands[:4]] == [
        (204, None),
        (200, []),
        (201, None),
        (200, ['hello']),
    ]
    status, _ = _pasted(commands[4])
    assert status == 200


def _pasted(command: str) -> tuple[int, list[str] | None]:
    """Run a command of the page; return its status and the bodies."""
    done = subprocess.run(
        ['bash', '-c', f"{command} -s -w '\\n%{{http_code}}'"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    text, _, status = done.stdout.rpartition('\n')
    document = json.loads(text) if text.strip() else {}
    messages = document.get('messages')
    bodies = None if messages is None else [one['body'] for one in messages]
    return int(status), bodies


def _tail(user: User, producer: Producer) -> None:
    producer.post('mine', 'before')
    user.visits('mine', 'tail')
    user.sees('Following by a stream', '#following')
    producer.post('mine', HOSTILE, delay=600)
    user.sees('<img src=x', '#tail pre')
    # Where no WebSocket gets through.
    user.run(
        'window.WebSocket = class { constructor() {'
        ' setTimeout(() => this.onclose()); } close() {} }'
    )
    user.visits('mine', 'tail')
    user.sees('Following by lists that wait', '#following')
    producer.post('mine', 'by a list')
    user.sees('by a list', '#tail pre')
    assert len(user.texts('#tail pre')) == 1


def lose_the_service(
    user: User, stop: Callable[[], object], start: Callable[[], object]
) -> None:
    """See that the service cannot be reached, and that it is back."""
    user.lists()
    stop()
    user.sees('The API cannot be reached; trying again', '#trouble')
    start()
    trouble = user.chrome.find_element(By.ID, 'trouble')
    user.until(lambda: not trouble.is_displayed(), 'no trouble')
    user.sees('jobs', '#queues td')
