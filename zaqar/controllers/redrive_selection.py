# SPDX-License-Identifier: Apache-2.0
"""Which messages a redrive moves, and where each of them goes."""

from zaqar.controllers import message_extras_codec
from zaqar.controllers.message_encryption import UNREADABLE, Cipher
from zaqar.controllers.message_extras_codec import DeadLetter
from zaqar.controllers.redrive_filter_parsing import compiled
from zaqar.controllers.redrive_records import Redrive
from zaqar.objects import Kind, Message, Scope


class Selection:
    """The messages of a redrive.

    :param redrive: ages count back from its start
    """

    def __init__(self, redrive: Redrive, cipher: Cipher) -> None:
        self._redrive = redrive
        self._scope = redrive.scope
        self._cipher = cipher
        self._conditions = compiled(redrive.filter)

    def is_newer(self, message: Message) -> bool:
        """Tell whether a message came after the redrive was requested."""
        return message.created_at > self._redrive.started_at

    def target(self, message: Message) -> Scope | None:
        """Return where a message goes, None if it stays."""
        if self.is_newer(message) or message.group is not None:
            return None
        letter = message_extras_codec.read(message.extras).dead_letter
        target = self._target(letter)
        if target is None or not self._matches(message, letter):
            return None
        return target

    def _target(self, letter: DeadLetter | None) -> Scope | None:
        if self._redrive.to is not None:
            return Scope(self._scope.project, self._redrive.to)
        if letter is None:
            return None
        kind = Kind.TOPIC if letter.is_topic else Kind.QUEUE
        target = Scope(self._scope.project, letter.queue, kind)
        return None if target == self._scope else target

    def _matches(self, message: Message, letter: DeadLetter | None) -> bool:
        wanted = self._conditions
        seconds = (
            self._redrive.started_at
            - (message.created_at if letter is None else letter.at)
        ) / 1000
        if wanted.older_than is not None and seconds < wanted.older_than:
            return False
        if wanted.newer_than is not None and seconds >= wanted.newer_than:
            return False
        facts = {}
        if letter is not None:
            facts = {'source': letter.queue, 'reason': letter.reason}
        return wanted.facts.matches(facts) and self._has_body(message)

    def _has_body(self, message: Message) -> bool:
        try:
            body = self._cipher.decrypt(message.body, self._scope, message.id)
        except UNREADABLE:
            # It is counted, and stays.
            return True
        return self._conditions.body.matches_text(body)
