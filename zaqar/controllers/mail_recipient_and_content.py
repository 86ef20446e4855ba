# SPDX-License-Identifier: Apache-2.0
"""Recipient and content of mails, by a ``mailto`` URI and its options.

:source: RFC 6068
"""

import urllib.parse
from collections.abc import Mapping
from typing import Any

from zaqar.controllers.mail_building import MailContent

#: Options of a subscription for its mails.
SUBJECT = 'subject'
SENDER = 'from'


def recipient(subscriber: str) -> tuple[str, str]:
    """Return address and subject of a URI, '' without one."""
    path, _, query = subscriber.partition(':')[2].partition('?')
    subject = ''
    for part in query.split('&'):
        name, _, value = part.partition('=')
        if name.lower() == 'subject' and not subject:
            # A plus sign is a plus sign in such a URI.
            subject = urllib.parse.unquote(value)
    return urllib.parse.unquote(path), subject


def content(
    subscriber: str, options: Mapping[str, Any], body: str
) -> tuple[str, MailContent]:
    """Return the address of a subscriber and the content of its mail.

    :raises ValueError: an option is not text
    """
    address, subject = recipient(subscriber)
    default = options.get(SUBJECT) or ''
    sender = options.get(SENDER) or ''
    for name, text in ((SUBJECT, default), (SENDER, sender)):
        if not isinstance(text, str):
            raise ValueError(f'the option {name} must be a string')
    return address, MailContent(subject or default, body, sender)
