# SPDX-License-Identifier: Apache-2.0
"""The Query protocol: forms, and answers in XML."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import msgspec

from zaqar.transport.sqs import json_protocol
from zaqar.transport.sqs.batch_checks_and_outcomes import Output
from zaqar.transport.sqs.faults import Fault
from zaqar.transport.wsgi_types import Environ

CONTENT_TYPE = 'text/xml'

_NAMESPACE = 'http://queue.amazonaws.com/doc/2012-11-05/'

#: Fields of a form, at most.
MOST_FIELDS = 4000

#: Members of a request in a form: the names of the entries of lists, and of
#: the entries, keys and values of maps.
_LISTS = {
    'AttributeName': 'AttributeNames',
    'MessageAttributeName': 'MessageAttributeNames',
    'MessageSystemAttributeName': 'MessageSystemAttributeNames',
    'TagKey': 'TagKeys',
}
_MAPS = {
    'Attribute': ('Attributes', 'Name', 'Value'),
    'MessageAttribute': ('MessageAttributes', 'Name', 'Value'),
    'MessageSystemAttribute': ('MessageSystemAttributes', 'Name', 'Value'),
}
_TAGS = {'CreateQueue': ('tags', 'Key', 'Value')}
_OTHER_TAGS = ('Tags', 'Key', 'Value')

#: The same for answers, by the names of members.
_SHOWN_LISTS = {
    'Messages': 'Message',
    'QueueUrls': 'QueueUrl',
    'queueUrls': 'QueueUrl',
    'Failed': 'BatchResultErrorEntry',
    'Results': 'ListMessageMoveTasksResultEntry',
}
_SHOWN_MAPS = {
    'Attributes': ('Attribute', 'Name', 'Value'),
    'MessageAttributes': ('MessageAttribute', 'Name', 'Value'),
    'Tags': ('Tag', 'Key', 'Value'),
}

#: What XML cannot hold: in answers, of bodies that were posted by others.
_UNSAFE = re.compile('[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')

#: What parsers would change, beside what escape() replaces.
_ENTITIES = {'\r': '&#13;', '"': '&quot;'}

Fields = list[tuple[str, str]]


def is_unsafe(text: str) -> bool:
    """Tell whether a text holds a character that XML cannot hold."""
    # What most texts are is seen much faster.
    is_plain = text.isascii() and text.isprintable()
    return not is_plain and _UNSAFE.search(text) is not None


def fields(environ: Environ, body: bytes) -> Fields:
    """Return the fields of a form, and of the query.

    :raises Fault: there are too many, or they are no text
    """
    texts = [environ.get('QUERY_STRING', '')]
    if body:
        texts.append(body.decode('latin-1'))
    try:
        return [
            pair
            for text in texts
            for pair in parse_qsl(
                text,
                keep_blank_values=True,
                errors='strict',
                max_num_fields=MOST_FIELDS,
            )
        ]
    except ValueError:
        raise Fault('MalformedQueryString', 'The form is malformed.') from None


def action(pairs: Fields) -> str:
    """Return the name of the action that a form is for, '' without one."""
    return dict(pairs).get('Action', '')


def decode(name: str, pairs: Fields, kind: Any) -> Any:
    """Return the input of an action.

    :raises Fault: the form is none
    """
    tree: dict[str, Any] = {}
    for key, value in pairs:
        _put(tree, key.split('.'), value)
    try:
        return msgspec.convert(_members(name, tree), kind, strict=False)
    except msgspec.ValidationError as error:
        raise json_protocol.misfit(error) from None


def _put(tree: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        inner = tree.setdefault(part, {})
        if not isinstance(inner, dict):
            raise _malformed(part)
        tree = inner
    if isinstance(tree.get(path[-1]), dict):
        raise _malformed(path[-1])
    tree[path[-1]] = value


def _members(action: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a structure by the names of its members.

    :param action: '' for an entry of a batch
    """
    maps = {**_MAPS, 'Tag': _TAGS.get(action, _OTHER_TAGS)}
    members: dict[str, Any] = {}
    for key, value in tree.items():
        if action and key == f'{action}RequestEntry':
            members['Entries'] = [
                # Entries have none themselves, however deep the form is.
                _members('', _structure(key, item))
                for item in _items(key, value)
            ]
        elif key in _LISTS:
            members[_LISTS[key]] = _items(key, value)
        elif key in maps:
            member, name, content = maps[key]
            entries = [_structure(key, item) for item in _items(key, value)]
            members[member] = {
                _text(key, entry.get(name)): entry.get(content)
                for entry in entries
            }
        else:
            members[key] = value
    return members


def _items(key: str, value: Any) -> list[Any]:
    """Return the entries of a list, in the order of their numbers."""
    if isinstance(value, str):
        # A list of one, as some clients write it.
        return [value] if value else []
    if not all(name.isascii() and name.isdigit() for name in value):
        raise _malformed(key)
    return [value[name] for name in sorted(value, key=_number)]


def _number(text: str) -> tuple[int, str]:
    # Numbers of any length are compared, not converted.
    return len(text.lstrip('0')), text.lstrip('0')


def _structure(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _malformed(key)
    return value


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _malformed(key)
    return value


def _malformed(key: str) -> Fault:
    return Fault('InvalidParameterValue', f'The parameter {key} is malformed.')


def encode(action: str, output: Output, request_id: str) -> bytes:
    """Return the answer of an action."""
    content = ''.join(_elements(action, output))
    result = f'<{action}Result>{content}</{action}Result>' if content else ''
    return (
        f'<?xml version="1.0"?><{action}Response xmlns="{_NAMESPACE}">'
        f'{result}<ResponseMetadata><RequestId>{request_id}</RequestId>'
        f'</ResponseMetadata></{action}Response>'
    ).encode()


def encode_fault(fault: Fault, request_id: str) -> tuple[bytes, Output]:
    """Return body and headers of the response to an error."""
    kind = 'Sender' if fault.is_senders else 'Receiver'
    return (
        f'<?xml version="1.0"?><ErrorResponse xmlns="{_NAMESPACE}"><Error>'
        f'<Type>{kind}</Type><Code>{fault.code}</Code>'
        f'<Message>{_escaped(fault.message)}</Message><Detail/></Error>'
        f'<RequestId>{request_id}</RequestId></ErrorResponse>'
    ).encode(), {}


def _elements(action: str, members: Mapping[str, Any]) -> Iterator[str]:
    for name, value in members.items():
        if isinstance(value, list):
            entry = _SHOWN_LISTS.get(name, f'{action}ResultEntry')
            for item in value:
                yield _element(action, entry, item)
        elif name in _SHOWN_MAPS:
            entry, key, content = _SHOWN_MAPS[name]
            for inner, item in value.items():
                pair = {key: inner, content: item}
                yield _element(action, entry, pair)
        else:
            yield _element(action, name, value)


def _element(action: str, name: str, value: Any) -> str:
    if isinstance(value, dict):
        content = ''.join(_elements(action, value))
    elif isinstance(value, bool):
        content = 'true' if value else 'false'
    else:
        content = _escaped(str(value))
    return f'<{name}>{content}</{name}>'


def _escaped(text: str) -> str:
    return escape(_UNSAFE.sub('\ufffd', text), _ENTITIES)
