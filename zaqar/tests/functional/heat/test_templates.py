# SPDX-License-Identifier: Apache-2.0
"""The sample templates do what they say."""

from __future__ import annotations

import os
import pathlib
import subprocess

from zaqar.tests.functional.heat.stacks import TEMPLATES, Stack, User, until


def shell(command: str, user: User) -> str:
    """Run a command as a user who has a token, and return what it prints."""
    done = subprocess.run(
        ['bash', '-c', command],
        env={**os.environ, 'OS_TOKEN': str(user.zaqar.token)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_every_template_is_run_here() -> None:
    names = {path.stem for path in TEMPLATES.glob('*.yaml')}
    tests = {name.removeprefix('test_') for name in globals()}
    # The environment and the trigger have tests of their own.
    assert names - {'event_sink', 'mistral_trigger'} <= tests


def test_queue(user: User) -> None:
    stack = user.done(TEMPLATES / 'queue.yaml', parameters={'job_ttl': 600})
    shell(stack.output('post'), user)
    path = stack.output('href').removeprefix(user.zaqar.origin)
    shown = user.zaqar.ask('GET', path).json()
    assert stack.output('waiting') == 1
    assert shown['_default_message_ttl'] == 600
    assert shown['_dead_letter_queue'] == stack.id_of('rejects')
    stack.deleted()


def test_subscription(user: User) -> None:
    stack = user.done(
        TEMPLATES / 'subscription.yaml',
        parameters={
            'url': 'https://ops.example.org/hook',
            'mail': 'ops@example.org',
        },
    )
    path = f'/v2/queues/{stack.output("queue")}/subscriptions'
    subscriptions = user.zaqar.ask('GET', path).json()['subscriptions']
    assert {item['subscriber'] for item in subscriptions} == {
        'https://ops.example.org/hook',
        'mailto:ops@example.org',
    }
    assert stack.output('confirmed') is False
    stack.deleted()


def test_signed_url(user: User) -> None:
    stack = user.done(TEMPLATES / 'signed_url.yaml')
    user.zaqar.post(stack.id_of('box'))
    assert '"event"' in shell(stack.output('read'), user)
    assert f'queue_name={stack.id_of("box")}' in stack.output('aodh')
    stack.deleted()


def test_signal(user: User, tmp_path: pathlib.Path) -> None:
    stack = user.create(TEMPLATES / 'signal.yaml', parameters={'timeout': 300})
    script = tmp_path / 'script'
    script.write_text(until(lambda: _script(stack), 'the script'))
    for name in ('web-1', 'web-2'):
        shell(f'bash {script} {name}', user)
    stack.reaches('CREATE_COMPLETE')
    assert set(stack.output('addresses')) == {'web-1', 'web-2'}
    stack.deleted()


def test_topic(user: User) -> None:
    stack = user.done(TEMPLATES / 'topic.yaml')
    path = stack.output('href').removeprefix(user.zaqar.origin)
    shown = user.zaqar.ask('GET', path).json()
    assert shown['_default_message_ttl'] == 600
    assert shown['audience'] == 'everybody'
    stack.deleted()


def test_pools(admin: User, tmp_path: pathlib.Path) -> None:
    uri = f'sqlite:///{tmp_path}/pool.sqlite'
    stack = admin.done(TEMPLATES / 'pools.yaml', parameters={'uri': uri})
    answer = admin.zaqar.post(stack.output('queue'))
    assert answer.status_code == 201
    assert (tmp_path / 'pool.sqlite').exists()
    assert 'CLAIMS' in stack.output('capabilities')
    stack.deleted()


def _script(stack: Stack) -> str | None:
    """Return the script of a stack once it is made."""
    script = stack.id_of('script')
    if not script:
        return None
    shown = stack.user.ask('GET', f'/software_configs/{script}')
    return str(shown['software_config']['config'])
