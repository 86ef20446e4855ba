# SPDX-License-Identifier: Apache-2.0
"""Ranges of the parameters of the protocol that are numbers."""

from typing import NamedTuple

from zaqar.transport.sqs import faults


class Range(NamedTuple):
    """The numbers that a parameter takes, both ends included."""

    name: str
    least: int
    most: int

    def check(self, value: int | None) -> None:
        """Check the value of the parameter, None without one.

        :raises Fault: it is too small or too large
        """
        if value is not None and not self.least <= value <= self.most:
            raise faults.invalid(
                self.name, f'it is {self.least} to {self.most}.'
            )


#: In seconds.
VISIBILITY = Range('VisibilityTimeout', 0, 43_200)
WAIT = Range('WaitTimeSeconds', 0, 20)
DELAY = Range('DelaySeconds', 0, 900)
RETENTION = Range('MessageRetentionPeriod', 60, 1_209_600)

#: In bytes; the greatest is that of a batch, too.
MESSAGE_SIZE = Range('MaximumMessageSize', 1024, 1_048_576)

RECEIVED = Range('MaxNumberOfMessages', 1, 10)
QUEUES = Range('MaxResults', 1, 1000)
TASKS = Range('MaxResults', 1, 10)
RATE = Range('MaxNumberOfMessagesPerSecond', 1, 500)
