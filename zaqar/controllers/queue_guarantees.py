# SPDX-License-Identifier: Apache-2.0
"""The guarantees of a queue, by the settings of the server it is on."""

import msgspec

from zaqar.controllers import queue_existence_check
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.reserved_metadata import dedup_window
from zaqar.controllers.server_guarantees_cache import Checked
from zaqar.objects import Queue, Scope
from zaqar.storage.abstract_stores import MessageStore


class QueueGuarantees(msgspec.Struct, frozen=True):
    """The promises of a queue.

    :ivar dedup_window: seconds for which duplicates are recognized
    """

    checked: Checked
    dedup_window: int


def show(ctx: Context, *, scope: Scope) -> QueueGuarantees:
    """Return what a queue promises at present, or did a minute ago at most.

    :raises NotFound: the queue does not exist, hence is on no server
    """

    def read(store: MessageStore, queue: Queue) -> QueueGuarantees:
        checked = ctx.guarantees.read(store, queue.qid)
        return QueueGuarantees(checked, dedup_window(queue.metadata))

    return queue_existence_check.run(ctx, scope, read)
