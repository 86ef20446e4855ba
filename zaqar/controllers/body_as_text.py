# SPDX-License-Identifier: Apache-2.0
"""Bodies of messages as texts, for clients that know no others."""

import json

import msgspec


def text_of(body: bytes) -> str:
    """Return the text that a body is, or else its JSON without blanks.

    Numbers are left as they are written. Halves of surrogate pairs, which JSON
    can hold and no text, become replacement characters.
    """
    try:
        if body[:1] == b'"':
            return msgspec.json.decode(body, type=str)
        return msgspec.json.format(body, indent=-1).decode()
    except msgspec.DecodeError:
        value = json.loads(body)
        text = value if isinstance(value, str) else _compact(value)
        return text.encode('utf-16', 'surrogatepass').decode(
            'utf-16', 'replace'
        )


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(',', ':'))
