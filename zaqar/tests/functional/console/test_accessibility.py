# SPDX-License-Identifier: Apache-2.0
"""Everybody can use each view, at any width, in the dark as well.

With ``ZAQAR_TEST_PICTURES`` set, pictures for the guides are taken on the way.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping

from zaqar.tests.functional.console import axe
from zaqar.tests.functional.console.browser import User
from zaqar.tests.functional.console.conftest import PROJECT
from zaqar.tests.functional.console.producer import Producer
from zaqar.tests.servers.receivers import Receiver, answer

_PICTURES = pathlib.Path(__file__).parents[4] / 'doc/source/_static/console'

#: Width and height of a desktop's window and of a phone's.
_DESKTOP, _PHONE = (1100, 900), (390, 800)

View = Callable[[User, Producer], None]


def _list(user: User, _: Producer) -> None:
    user.lists()
    user.sees('orders', '#queues td')


def _messages(user: User, _: Producer) -> None:
    user.visits('orders', 'messages')
    user.presses('Explain')
    user.sees('State: ', '.why')


def _dead_letters(user: User, _: Producer) -> None:
    user.visits('orders-failed', 'dead')
    user.presses('Dry run')
    user.sees('Would redrive 20', '#dry')


def _subscriptions(user: User, _: Producer) -> None:
    user.visits('orders', 'subscriptions')
    user.sees('Fails: ', '.verdict')
    user.presses('Attempts')
    user.sees('given_up', 'article td')


def _tail(user: User, producer: Producer) -> None:
    user.visits('orders', 'tail')
    user.sees('Following by a stream', '#following')
    producer.post('orders', {'type': 'order', 'number': 4713})
    user.sees('4713', '#tail pre')


def _metadata(user: User, _: Producer) -> None:
    user.visits('orders', 'metadata')


def _share(user: User, _: Producer) -> None:
    user.visits('orders', 'share')
    user.presses('Make a pre-signed URL', agrees='until')
    user.sees('URL-Signature: ', '#commands pre')


def _question(user: User, _: Producer) -> None:
    user.visits('orders', 'messages')
    user.presses('Purge the queue')
    user.sees('Delete all messages', 'dialog')


#: The last one stays in the way.
_VIEWS: Mapping[str, View] = {
    'queues': _list,
    'messages': _messages,
    'dead-letters': _dead_letters,
    'subscriptions': _subscriptions,
    'tail': _tail,
    'metadata': _metadata,
    'share': _share,
    'question': _question,
}


def _prepare(producer: Producer, receiver: Receiver) -> None:
    """Make a project as it may be in the afternoon."""
    producer.ask('PUT', '/orders-failed', {})
    producer.ask('PUT', '/orders', {'_dead_letter_queue': 'orders-failed'})
    for queue, count in (('invoices', 2), ('mail', 11), ('thumbnails', 7)):
        producer.post(
            queue, *({'id': number, 'of': queue} for number in range(count))
        )
    producer.post(
        'orders', *({'type': 'order', 'number': 4700 + n} for n in range(20))
    )
    producer.reject('orders', 'timeout of the payment service', 20)
    receiver.behave = answer(404)
    producer.subscribe('orders', f'{receiver.url}/hooks/orders')
    producer.post(
        'orders',
        {'type': 'order', 'number': 4711, 'items': ['tea', 'a cup']},
        {'type': 'order', 'number': 4712, 'items': ['coffee']},
        {'type': 'cancel', 'number': 4711},
    )
    producer.post('orders', {'type': 'reminder'}, delay=600)
    producer.claim('orders')
    producer.claim('mail', 3)
    receiver.wait(1)


def _await_failure(user: User) -> None:
    """Wait until the notifier has written what failed."""

    def failed() -> bool:
        user.visits('orders', 'subscriptions')
        return any('Fails: ' in text for text in user.texts('.verdict'))

    user.until(failed, 'a failure')


def test_no_view_has_a_serious_fault(
    owner: User, producer: Producer, receiver: Receiver, tmp_path: pathlib.Path
) -> None:
    program = axe.script(tmp_path / 'axe')
    _prepare(producer, receiver)
    faults = {}
    for scheme in ('light', 'dark'):
        feature = {'name': 'prefers-color-scheme', 'value': scheme}
        owner.chrome.execute_cdp_cmd(
            'Emulation.setEmulatedMedia', {'features': [feature]}
        )
        owner.opens()
        owner.sees('Sign in', 'dialog')
        faults[scheme, 'sign-in'] = axe.faults(owner, program)
        owner.signs_in(Project=PROJECT)
        owner.sees('orders', '#queues td')
        _await_failure(owner)
        for name, view in _VIEWS.items():
            for size in (_DESKTOP, _PHONE):
                owner.chrome.set_window_size(*size)
                if size is _DESKTOP:
                    view(owner, producer)
                    _photograph(owner, name, scheme)
                faults[scheme, name, size] = axe.faults(owner, program)
                assert _fits(owner), (name, size)
    assert {place: found for place, found in faults.items() if found} == {}


def _fits(user: User) -> bool:
    """Tell whether the page as a whole need not be moved sideways."""
    script = (
        'const root = document.documentElement;'
        'return root.scrollWidth <= root.clientWidth'
    )
    return bool(user.run(script))


def _photograph(user: User, name: str, scheme: str) -> None:
    """Take a picture for the guides, if that is wanted."""
    if scheme == 'light' and os.environ.get('ZAQAR_TEST_PICTURES'):
        _PICTURES.mkdir(exist_ok=True)
        assert user.chrome.save_screenshot(f'{_PICTURES}/{name}.png')
