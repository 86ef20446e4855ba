# SPDX-License-Identifier: Apache-2.0
"""Limits of projects, cached for a minute.

Older ones are used while a thread reads them anew, so that no request waits
for Keystone but the first one of a project. The last ones hold while they
cannot be read.

:source: reference/http, "Quotas and rates"
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping

import msgspec

from zaqar.bounded_cache import BoundedCache
from zaqar.controllers.background_reads import BackgroundReads
from zaqar.controllers.configured_quotas import (
    RESOURCES,
    Limits,
    QuotaSettings,
)
from zaqar.controllers.quota_limit_sources import (
    NO_LIMITS,
    LimitSource,
    LimitsUnavailable,
)
from zaqar.errors import one_line
from zaqar.event_loop_greenlets import offload

LOG = logging.getLogger(__name__)

#: Seconds for which limits are cached, and after which they are read again if
#: that failed.
FRESH = 60.0
AGAIN = 10.0

#: Projects whose limits are cached.
CACHED = 10_000


class _Known(msgspec.Struct):
    """Limits, and when to read them again."""

    limits: Limits
    until: float


class LimitsCache:
    """The limits of projects.

    :param source: of limits that differ from the settings, None if none do
    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        settings: QuotaSettings | None = None,
        source: LimitSource | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings or QuotaSettings()
        self._defaults = self.settings.limits
        self._is_on = self.settings.are_on
        self._source = source
        self._timer = timer
        self._known: BoundedCache[str, _Known] = BoundedCache(CACHED)
        self._reads = BackgroundReads('quotas', self._read)
        self._lock = threading.Lock()
        self._is_away = False

    def limits(self, project: str) -> Limits:
        """Return the limits that a project has."""
        if not self._is_on:
            return NO_LIMITS
        if self._source is None:
            return self._defaults
        known = self._known.get(project)
        if known is None:
            return offload(self._read, project)
        if self._timer() >= known.until:
            self._reads.later(project)
        return known.limits

    def forget(self, project: str) -> None:
        """Read the limits of a project anew."""
        self._known.pop(project, None)

    def close(self) -> None:
        self._reads.close()

    def _read(self, project: str) -> Limits:
        """Read the limits of a project; keep the last ones if that fails."""
        assert self._source is not None
        try:
            own = self._source.limits(project)
            limits, patience = _merged(self._defaults, own), FRESH
            self._note_back()
        except Exception as error:
            self._note_away(error)
            known = self._known.get(project)
            if known is not None:
                limits = known.limits
            else:
                general = getattr(error, 'general', NO_LIMITS)
                limits = _merged(self._defaults, general)
            patience = AGAIN
        # At the end, so that those go first that were read longest ago.
        self._known.pop(project, None)
        self._known[project] = _Known(limits, self._timer() + patience)
        return limits

    def _note_away(self, error: Exception) -> None:
        with self._lock:
            was_away, self._is_away = self._is_away, True
        if not was_away:
            is_known = isinstance(error, LimitsUnavailable)
            LOG.warning(
                'Limits of projects cannot be read, the last known ones hold: '
                '%s',
                one_line(error),
                exc_info=None if is_known else error,
            )

    def _note_back(self) -> None:
        if not self._is_away:
            return
        with self._lock:
            was_away, self._is_away = self._is_away, False
        if was_away:
            LOG.info('Limits of projects can be read again')


def _merged(defaults: Limits, own: Mapping[str, int]) -> Limits:
    """Return the limits of a project with own ones."""
    limits = {**defaults, **own}
    return {
        name: limits[name] for name in RESOURCES if limits.get(name, -1) >= 0
    }
