# SPDX-License-Identifier: Apache-2.0
"""Command-line options of ``zaqar-bench``."""

import argparse
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg

from zaqar import version

PROG = 'zaqar-bench'

DESCRIPTION = """\
Put load on a running service and report rates and latencies.

Producers post messages to random queues, consumers claim messages and delete
them, observers page through queues, claimed messages included.
Consumers report the time from a post to the receipt of its messages, which
carry the time of the post: clocks of different machines must agree.
With --sqs, observers read the numbers of messages instead.
With --wait, a consumer waits for its share of the queues; it is late where it
has several.
Each role has a number of processes, each process a number of workers; a worker
is a thread with a connection of its own and one request under way at a time.
The clocks start when every worker is connected and warmed up.
"""

EPILOGUE = """\
environment:
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
                              sign requests with --sqs; by default the
                              project of a service without authentication
  OS_AUTH_STRATEGY=keystone   take credentials from OS_* variables or
                              clouds.yaml (OS_CLOUD, else devstack-admin,
                              else devstack); otherwise no authentication

messages:
  The file is a JSON list of {"weight": W, "doc": {"ttl": S, "body": B}};
  weights are between 0 and 1 and add up to 1. Without --messages_path
  zaqar-benchmark-messages.json beside the configuration file is used,
  and without that one message of --body_size bytes.

exit codes:
  0  finished       1  the load could not be put on       2  usage error

The queues are deleted first, unless --skip_queue_reset.
With --nodebug the result is one line of JSON, times in milliseconds.
"""


def _count(name: str, short: str, default: int, text: str) -> cfg.IntOpt:
    return cfg.IntOpt(name, short=short, default=default, min=0, help=text)


def _positive(name: str, short: str, default: int, text: str) -> cfg.IntOpt:
    return cfg.IntOpt(name, short=short, default=default, min=1, help=text)


OPTS: Sequence[cfg.Opt] = [
    _count('producer_processes', 'pp', 1, 'Processes that post.'),
    _count('producer_workers', 'pw', 10, 'Workers of each; 0 for no posts.'),
    _count('consumer_processes', 'cp', 1, 'Processes that claim and delete.'),
    _count('consumer_workers', 'cw', 0, 'Workers of each; 0 for no claims.'),
    _count('observer_processes', 'op', 1, 'Processes that list.'),
    _count('observer_workers', 'ow', 5, 'Workers of each; 0 for no lists.'),
    _positive('messages_per_claim', 'cno', 5, 'Messages claimed at once.'),
    _positive('messages_per_list', 'lno', 5, 'Messages listed at once.'),
    _positive('messages_per_post', 'bno', 1, 'Messages posted at once.'),
    _positive('time', 't', 5, 'Seconds that the load lasts.'),
    cfg.FloatOpt(
        'warm_up',
        default=0.5,
        min=0,
        help='Seconds of load before the measurement.',
    ),
    cfg.StrOpt(
        'server_url',
        short='s',
        default='http://localhost:8888',
        help='URL of the service; ws:// or wss:// for its WebSocket.',
    ),
    cfg.StrOpt(
        'queue_prefix',
        short='q',
        default='ogre-test-queue',
        help='Queues are named <prefix>-0, <prefix>-1, ...',
    ),
    _positive('num_queues', 'qno', 4, 'Number of queues.'),
    cfg.StrOpt('messages_path', short='m', help='File of sample messages.'),
    _positive('body_size', 'bs', 64, 'Bytes of the body if there is no file.'),
    cfg.IntOpt(
        'api_version',
        short='api',
        default=2,
        help='Version of the API; only 2 is supported.',
    ),
    cfg.BoolOpt(
        'wait',
        default=False,
        help='Consumers wait for messages instead of polling.',
    ),
    cfg.IntOpt(
        'wait_seconds',
        default=20,
        min=1,
        max=25,
        help='Seconds that a claim waits at most; no more than [transport] '
        'max_wait of the service.',
    ),
    cfg.BoolOpt(
        'sqs',
        default=False,
        help='Use the protocol of Amazon SQS, below /sqs.',
    ),
    cfg.BoolOpt(
        'bulk_delete',
        default=False,
        help='Delete the messages of a claim in one request.',
    ),
    cfg.BoolOpt(
        'skip_queue_reset',
        default=False,
        help='Keep the messages that are in the queues.',
    ),
    cfg.BoolOpt(
        'debug',
        default=True,
        help='Show a table and progress; with --nodebug one line of JSON.',
    ),
]


class _Configuration(cfg.ConfigOpts):
    """Options that keep the line breaks of the texts around ``--help``."""

    def _pre_setup(
        self, *args: Any, **kwargs: Any
    ) -> tuple[str, list[str], list[str]]:
        answer: tuple[str, list[str], list[str]] = super()._pre_setup(
            *args, **kwargs
        )
        parser: Any = self._oparser
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        return answer


def parse(arguments: Sequence[str]) -> cfg.ConfigOpts:
    """Read the command line; wrong usage exits with 2.

    :raises oslo_config.cfg.Error: a configuration file cannot be read
    """
    conf = _Configuration()
    conf.register_cli_opts(OPTS)
    try:
        conf(
            list(arguments),
            project='zaqar',
            prog=PROG,
            version=version.version_string(),
            description=DESCRIPTION,
            epilog=EPILOGUE,
        )
    except SystemExit as end:
        # oslo.config exits with 1 for a value out of range.
        raise SystemExit(2 if end.code == 1 else end.code) from None
    return conf
