# SPDX-License-Identifier: Apache-2.0
"""Redrives that this notifier works on, each in a thread of its own."""

import logging
import secrets
import threading

from zaqar.controllers import leased_redrive_record, redrive_records
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.redrive_batches import PAUSE, Run
from zaqar.errors import StoreUnavailable
from zaqar.objects import Scope

LOG = logging.getLogger(__name__)

#: Seconds between two looks for redrives that nobody works on.
POLL = 1.0

#: Redrives at a time.
MAX_RUNNING = 50


class RedriveWorker:
    """Takes redrives of all projects, and works on them until stopped.

    :param ctx: its identity is not used
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._owner = secrets.token_hex(16)
        self._ended = threading.Event()
        self._running: dict[Scope, threading.Thread] = {}
        self._thread = threading.Thread(
            target=self._watch, name='redrives', daemon=True
        )

    @property
    def running(self) -> int:
        """The number of redrives that it works on."""
        return len(self._running)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the batches under way; other notifiers continue."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        for thread in list(self._running.values()):
            thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(POLL):
            try:
                self._take()
            except StoreUnavailable:
                LOG.warning('The management store is not responding; retrying')
            except Exception:
                # The thread must go on.
                LOG.exception('Looking for redrives failed; retrying')

    def _take(self) -> None:
        """Begin to work on redrives that nobody works on."""
        after: str | None = None
        while len(self._running) < MAX_RUNNING:
            records = redrive_records.jobs(
                self._ctx.catalogue.management, after
            )
            now = self._ctx.catalogue.management.clock.now()
            for record in records:
                redrive = redrive_records.read(record)
                if not leased_redrive_record.is_held(redrive, now):
                    self._begin(redrive.scope)
            if len(records) < redrive_records.BATCH:
                return
            after = records[-1].name

    def _begin(self, scope: Scope) -> None:
        if scope in self._running or len(self._running) >= MAX_RUNNING:
            return
        run = Run(self._ctx, scope, self._owner)
        if not run.take():
            return
        LOG.info('Working on the redrive of %s', scope)
        thread = threading.Thread(
            target=self._work, args=(scope, run), name='redrive', daemon=True
        )
        self._running[scope] = thread
        thread.start()

    def _work(self, scope: Scope, run: Run) -> None:
        try:
            while not self._ended.is_set():
                try:
                    pause = run.step()
                except Exception:
                    # The redrive must go on.
                    LOG.exception('A redrive of %s failed; retrying', scope)
                    pause = PAUSE
                if pause is None:
                    return
                self._ended.wait(pause)
            run.leave()
        finally:
            del self._running[scope]
