# SPDX-License-Identifier: Apache-2.0
"""Messages and claims in dictionaries.

``zaqar.storage.abstract_stores.MessageStore`` describes each call. Callers
hold the lock of the place, so one method runs at a time.
"""

from __future__ import annotations

from zaqar_example.claiming import Claiming
from zaqar_example.posting import Posting
from zaqar_example.reading import Reading
from zaqar_example.removing import Removing


class Messages(Posting, Reading, Claiming, Removing):
    """The message store of a place."""
