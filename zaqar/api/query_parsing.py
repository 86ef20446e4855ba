# SPDX-License-Identifier: Apache-2.0
"""Conversion of query strings to typed arguments.

A blank value counts as absent. The last one of a repeated scalar is taken;
lists are separated by commas, repeated, or both.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zaqar.api import microversion_negotiation
from zaqar.api.operation import Param
from zaqar.errors import InvalidParameter
from zaqar.microversion_constants import Version

_TRUE = frozenset(('true', 'True', 't', 'yes', 'y', '1', 'on'))
_FALSE = frozenset(('false', 'False', 'f', 'no', 'n', '0', 'off'))


def parse(
    params: Sequence[Param],
    values: Mapping[str, Sequence[str]],
    version: Version = microversion_negotiation.MAX,
) -> dict[str, Any]:
    """Return the value of each declared parameter, None if absent.

    :param params: with the one that stands alone, if any, first
    :param values: as sent, each name with all its values
    :param version: below which a parameter counts as absent
    :raises InvalidParameter: a value of the wrong type
    """
    arguments: dict[str, Any] = {}
    for param in params:
        arguments[param.name] = None
    for param in params:
        if param.name not in values or param.since > version:
            continue
        value = _READERS[param.kind](param.name, values[param.name])
        arguments[param.name] = value
        if param.alone and value is not None:
            break
    return arguments


def unknown(
    params: Sequence[Param],
    values: Mapping[str, Sequence[str]],
    version: Version = microversion_negotiation.MAX,
) -> dict[str, Sequence[str]]:
    """Return parameters that a version lacks, without blank values."""
    names = {param.name for param in params if param.since <= version}
    return {
        name: filled
        for name, texts in values.items()
        if name not in names and (filled := [text for text in texts if text])
    }


def _text(name: str, texts: Sequence[str]) -> str | None:
    return texts[-1] or None


def _int(name: str, texts: Sequence[str]) -> int | None:
    last = texts[-1].rpartition(',')[2]
    if not last:
        return None
    try:
        return int(last)
    except ValueError:
        raise InvalidParameter(
            f'The "{name}" parameter is invalid. The value must be an integer.'
        ) from None


def _bool(name: str, texts: Sequence[str]) -> bool | None:
    last = texts[-1].rpartition(',')[2]
    if last in _TRUE:
        return True
    if last in _FALSE:
        return False
    if not last:
        return None
    raise InvalidParameter(
        f'The "{name}" parameter is invalid. The value of the parameter must '
        'be "true" or "false".'
    )


def _ids(name: str, texts: Sequence[str]) -> list[str] | None:
    return [part for text in texts for part in text.split(',') if part] or None


_READERS: Mapping[str, Callable[[str, Sequence[str]], Any]] = {
    'text': _text,
    'int': _int,
    'bool': _bool,
    'ids': _ids,
}
