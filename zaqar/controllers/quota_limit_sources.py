# SPDX-License-Identifier: Apache-2.0
"""Where the limits of projects come from: own records, or a service."""

from typing import Protocol

from zaqar.controllers.configured_quotas import Limits
from zaqar.errors import StoreUnavailable
from zaqar.storage.abstract_stores import ManagementStore

#: Kind and name of the record with the own limits of a project.
KIND = 'quota'


NAME = 'limits'


NO_LIMITS: Limits = {}


class LimitsUnavailable(Exception):
    """The limits of a project cannot be read at present.

    :ivar general: the last known ones of projects without limits of their own
    """

    def __init__(self, text: str, general: Limits = NO_LIMITS) -> None:
        super().__init__(text)
        self.general = general


class LimitSource(Protocol):
    """Knows the limits of projects."""

    def limits(self, project: str) -> Limits:
        """Return the limits of a project; below zero there is none.

        :raises LimitsUnavailable: it does not respond
        """


class RecordedLimits:
    """Own limits of projects, in the management store."""

    def __init__(self, store: ManagementStore) -> None:
        self._store = store

    def limits(self, project: str) -> Limits:
        try:
            record = self._store.get(KIND, project, NAME)
        except StoreUnavailable as error:
            raise LimitsUnavailable(str(error)) from error
        return {} if record is None else record.data
