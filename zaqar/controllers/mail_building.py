# SPDX-License-Identifier: Apache-2.0
"""Mails: built, then parsed again and compared with what is wanted.

The email library has changed how it treats odd addresses and subjects between
Python versions. So each mail is checked when it is finished: it has exactly
the recipient and the subject that are wanted, or it is not sent.

:source: RFC 5322
"""

import email.errors
import email.header
import email.message
import email.parser
import email.policy
from dataclasses import dataclass
from typing import Any

from zaqar import control_character_patterns

#: The headers of our mails, each once.
_HEADERS = [
    'Content-Transfer-Encoding',
    'Content-Type',
    'From',
    'MIME-Version',
    'Subject',
    'To',
]

#: What the parser of the library raises for some malformed addresses.
_FAULTS = (IndexError, AttributeError, email.errors.MessageError)

#: Maximum length of a header line, its name included.
_LINE = 76


class _Policy(email.policy.EmailPolicy):
    """Folds subjects by a class that keeps blanks on all versions.

    The one of EmailPolicy loses those between encoded words in some releases
    of Python.
    """

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        """Keep a subject as it is, even if it looks encoded."""
        if name != 'Subject':
            return super().header_store_parse(name, value)
        return name, value

    def fold(self, name: str, value: Any) -> str:
        if name != 'Subject':
            folded: str = super().fold(name, value)
            return folded
        text = str(value)
        if _is_plain(text) and len(name) + 2 + len(text) <= _LINE:
            return f'{name}: {text}{self.linesep}'
        header = email.header.Header(
            text, 'utf-8', maxlinelen=_LINE, header_name=name
        )
        return f'{name}: {header.encode(linesep=self.linesep)}{self.linesep}'

    def fold_binary(self, name: str, value: Any) -> bytes:
        if name != 'Subject':
            return super().fold_binary(name, value)
        return self.fold(name, value).encode('ascii')


_POLICY = _Policy(linesep='\r\n', cte_type='7bit')

_RAW = email.parser.BytesParser(policy=email.policy.compat32)
_PARSED = email.parser.BytesParser(policy=email.policy.default)


@dataclass(frozen=True, slots=True)
class MailContent:
    """Subject, body and sender of a mail.

    :ivar sender: a mailbox, with or without a name; '' for none
    """

    subject: str
    body: str
    sender: str


def build(address: str, content: MailContent) -> bytes:
    """Return a mail to one address, with lines that end in CRLF.

    :raises ValueError: the mail would differ from what is wanted
    """
    for text in (address, content.subject, content.sender):
        if control_character_patterns.PATTERN.search(text):
            raise ValueError('there is a control character in a header')
    try:
        data = _mail(address, content).as_bytes()
        _check(data, address, content)
    except _FAULTS:
        raise ValueError('there is no mail address in a header') from None
    return data


def mailbox(header: Any) -> str:
    """Return the address of a header with one mailbox.

    :raises ValueError: it has none or several
    """
    first = header.addresses[0] if len(header.addresses) == 1 else None
    if (
        first is None
        or header.defects
        or header.groups[0].display_name is not None
        or not (first.username and first.domain)
    ):
        raise ValueError(f'the header {header.name} is no single mail address')
    return f'{first.addr_spec}'


def sender_address(text: str) -> str:
    """Return the address of a sender, with or without a name.

    :raises ValueError: there is not exactly one
    """
    try:
        return mailbox(_POLICY.header_factory('From', text))
    except _FAULTS:
        raise ValueError(f'"{text}" is no mail address') from None


def _mail(address: str, content: MailContent) -> email.message.EmailMessage:
    mail = email.message.EmailMessage(policy=_POLICY)
    mail['To'] = address
    if content.sender:
        mail['From'] = content.sender
    mail['Subject'] = content.subject
    mail.set_content(content.body)
    return mail


def _check(data: bytes, address: str, content: MailContent) -> None:
    """Raise ValueError if a mail differs from what is wanted."""
    raw, parsed = _RAW.parsebytes(data), _PARSED.parsebytes(data)
    names = [name for name in _HEADERS if name != 'From' or content.sender]
    if sorted(raw.keys()) != names:
        raise ValueError('the headers would not be those of a mail of ours')
    # Mail programs parse the header by rules of their own, so it has to be
    # the bare address; not all of them parse quotes.
    is_bare = raw['To'] == address and '"' not in address
    if mailbox(parsed['To']) != address or not is_bare:
        raise ValueError('the recipient is no single mail address')
    if str(parsed['Subject']) != content.subject:
        raise ValueError('the subject cannot be sent as it is')
    if content.sender:
        mailbox(parsed['From'])


def _is_plain(text: str) -> bool:
    """Return whether a text needs no encoding in a header."""
    return text.isascii() and '=?' not in text and text == text.strip()
