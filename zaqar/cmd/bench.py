# SPDX-License-Identifier: Apache-2.0
"""``zaqar-bench``: put load on a service and report the figures."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from oslo_config import cfg

from zaqar.bench import (
    command_line_options,
    credentials,
    report,
    sample_messages,
    worker_pool,
)
from zaqar.bench.client_interface import CallFailed
from zaqar.bench.worker_roles import Workload
from zaqar.errors import ConfigurationError, ZaqarError

_ROLES = ('producer', 'consumer', 'observer')

_BAR = 40


def main(arguments: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        conf = command_line_options.parse(words)
        figures = _measure(conf)
    except (ConfigurationError, ZaqarError, CallFailed, cfg.Error) as error:
        print(f'{command_line_options.PROG}: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    if conf.debug:
        print(report.text(figures))
    else:
        print(msgspec.json.encode(figures).decode())
    return 0


def _measure(conf: cfg.ConfigOpts) -> dict[str, Any]:
    plan = _plan(conf)
    if not conf.skip_queue_reset:
        _reset(plan)
    results = worker_pool.run(plan, _progress(conf))
    return report.summarize(results, _params(conf))


def _plan(conf: cfg.ConfigOpts) -> worker_pool.Plan:
    if conf.api_version != 2:
        raise ZaqarError(f'There is no version {conf.api_version} of the API')
    names = [f'{conf.queue_prefix}-{i}' for i in range(conf.num_queues)]
    plan = worker_pool.Plan(
        url=conf.server_url,
        headers={} if conf.sqs else credentials.headers(),
        sqs=credentials.sqs_keys() if conf.sqs else None,
        processes=[
            (role, conf[f'{role}_workers'])
            for role in _ROLES
            for _ in range(conf[f'{role}_processes'])
            if conf[f'{role}_workers']
        ],
        workload=Workload(
            queues=names,
            messages=sample_messages.load(
                conf.messages_path, conf.config_file, conf.body_size
            ),
            claim=conf.messages_per_claim,
            list=conf.messages_per_list,
            post=conf.messages_per_post,
            bulk=conf.bulk_delete,
            wait=conf.wait_seconds if conf.wait else 0,
        ),
        seconds=conf.time,
        warm_up=conf.warm_up,
    )
    if not plan.processes:
        raise ZaqarError('No role has workers: nothing to do')
    return plan


def _params(conf: cfg.ConfigOpts) -> dict[str, dict[str, int]]:
    return {
        role: {
            'processes': conf[f'{role}_processes'],
            'workers': conf[f'{role}_workers'],
        }
        for role in _ROLES
    }


def _reset(plan: worker_pool.Plan) -> None:
    client = worker_pool.connect(plan)
    try:
        client.connect()
        for queue in plan.workload.queues:
            client.delete_queue(queue)
    except CallFailed as failure:
        raise ZaqarError(f'{plan.url}: {failure}') from failure
    finally:
        client.close()


def _progress(conf: cfg.ConfigOpts) -> Callable[[float], None]:
    """Return a function that draws a progress bar on a terminal."""
    if not (conf.debug and sys.stderr.isatty()):
        return lambda elapsed: None

    def draw(elapsed: float) -> None:
        done = round(_BAR * elapsed / conf.time)
        bar = '#' * done + '.' * (_BAR - done)
        end = '\n' if elapsed >= conf.time else ''
        with suppress(OSError):
            print(
                f'\r[{bar}] {elapsed:5.1f} of {conf.time} s',
                end=end,
                file=sys.stderr,
                flush=True,
            )

    return draw


if __name__ == '__main__':
    sys.exit(main())
