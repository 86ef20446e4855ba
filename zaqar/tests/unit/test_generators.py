# SPDX-License-Identifier: Apache-2.0
"""The tools that operators run on us."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest
import yaml

from zaqar.api import oslo_policy_registration

_BIN = pathlib.Path(sys.executable).parent


def _run(tool: str, *arguments: str) -> str:
    done = subprocess.run(
        [_BIN / tool, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_policy_generator_prints_every_default() -> None:
    rules = yaml.safe_load(
        _run('oslopolicy-policy-generator', '--namespace', 'zaqar')
    )
    assert rules == {
        rule.name: rule.check_str
        for rule in oslo_policy_registration.list_rules()
    }


def test_the_policy_generator_shows_what_an_operator_has_set(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / 'policy.yaml').write_text('"queues:get": "!"')
    conf = tmp_path / 'zaqar.conf'
    conf.write_text(f'[oslo_policy]\npolicy_file = {tmp_path}/policy.yaml')
    rules = yaml.safe_load(
        _run(
            'oslopolicy-policy-generator',
            *('--namespace', 'zaqar', '--config-file', str(conf)),
        )
    )
    assert rules['queues:get'] == '!'


def test_the_policy_sample_documents_paths() -> None:
    sample = _run('oslopolicy-sample-generator', '--namespace', 'zaqar')
    assert '# PUT  /v2/queues/{queue_name}' in sample
    assert '#"queues:create": "rule:project_member or rule:stack_user"' in (
        sample
    )
    # Beside the former one.
    assert '"queues:create":""' in sample


def test_the_configuration_sample_has_our_groups_and_defaults() -> None:
    sample = _run(
        'oslo-config-generator',
        *('--namespace', 'zaqar', '--namespace', 'oslo.middleware.cors'),
        *('--namespace', 'oslo.policy'),
    )
    for line in (
        '[drivers:transport:wsgi]',
        '[drivers:message_store:sqlalchemy]',
        '[transport]',
        '#max_messages_post_size = 262144',
        '#port = 8888',
        '#enforce_new_defaults = false',
    ):
        assert line in sample
    assert 'X-Project-Id' in sample


@pytest.mark.parametrize('module', ['zaqar.api.openapi'])
def test_the_openapi_document_is_printed(module: str) -> None:
    done = subprocess.run(
        [sys.executable, '-m', module],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert '"openapi": "3.1.0"' in done.stdout
