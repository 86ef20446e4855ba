# SPDX-License-Identifier: Apache-2.0
"""Results of PyMySQL, read faster.

PyMySQL parses the descriptions of all columns anew for each result, which
takes longer than a few rows; and it reads each value in several calls. Ours
are a few statements with always the same columns.
"""

import functools
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from zaqar.bounded_cache import BoundedCache

#: Results whose columns are remembered.
MAX_RESULTS = 500

#: The first byte of a value that is NULL, and of lengths in 2, 3 or 8 bytes.
_NULL = 0xFB
_LENGTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}


class _Columns(NamedTuple):
    """What PyMySQL makes of the descriptions of columns."""

    fields: Sequence[Any]
    converters: Sequence[Any]
    description: Sequence[Any]


class _Replay:
    """A connection that has received some packets, for who reads columns."""

    def __init__(
        self, connection: Any, packets: Sequence[bytes], packet_class: Any
    ) -> None:
        self.use_unicode = connection.use_unicode
        self.encoding = connection.encoding
        self.decoders = connection.decoders
        self._packets = iter(packets)
        self._packet_class = packet_class

    def _read_packet(self, packet_class: Any = None) -> Any:
        data = next(self._packets)
        return (packet_class or self._packet_class)(data, self.encoding)


@functools.cache
def with_fast_results(base_class: Any) -> Any:
    """Return a connection class of PyMySQL whose results are read faster."""
    module = sys.modules[base_class.__module__]
    result_class = getattr(module, 'MySQLResult', None)
    packet_class = getattr(module, 'MysqlPacket', None)
    if (
        packet_class is None
        or not hasattr(base_class, '_read_query_result')
        or not hasattr(result_class, '_get_descriptions')
        or not hasattr(result_class, '_read_row_from_packet')
    ):
        # Another version: slower, that is all.
        return base_class
    fast_class = _result_class(result_class, packet_class)

    class FastConnection(base_class):  # type: ignore[misc]
        def packet(self) -> bytes:
            data: bytes = self._read_packet().get_all_data()
            return data

        def _read_query_result(self, unbuffered: bool = False) -> Any:
            if unbuffered:
                return super()._read_query_result(unbuffered)
            self._result = None
            result = fast_class(self)
            result.read()
            self._result = result
            if result.server_status is not None:
                self.server_status = result.server_status
            return result.affected_rows

    return FastConnection


def _result_class(base_class: Any, packet_class: Any) -> Any:
    known: BoundedCache[Any, _Columns] = BoundedCache(MAX_RESULTS)

    class FastResult(base_class):  # type: ignore[misc]
        connection: Any
        fields: Sequence[Any]
        converters: Sequence[Any]
        description: Sequence[Any]

        def _get_descriptions(self) -> None:
            connection = self.connection
            packets = [
                connection.packet() for _ in range(self.field_count + 1)
            ]
            key = (connection.encoding, connection.use_unicode, *packets)
            columns = known.get(key)
            if columns is None:
                self.connection = _Replay(connection, packets, packet_class)
                try:
                    super()._get_descriptions()
                finally:
                    self.connection = connection
                columns = known[key] = _Columns(
                    self.fields,
                    [*map(_shortened, self.converters)],
                    self.description,
                )
            self.fields, self.converters, self.description = columns

        def _read_row_from_packet(self, packet: Any) -> tuple[Any, ...]:
            return read_row(packet.get_all_data(), self.converters)

    return FastResult


def _shortened(column: tuple[Any, Any]) -> tuple[Any, Any]:
    _, convert = column
    # It takes bytes as well.
    return (None, convert) if convert is int else column


def read_row(data: bytes, converters: Sequence[Any]) -> tuple[Any, ...]:
    """Return the values of a row.

    :param converters: encoding and conversion of each column, or None
    """
    row: list[Any] = []
    begin = 0
    for encoding, convert in converters:
        length = data[begin]
        begin += 1
        if length == _NULL:
            row.append(None)
            continue
        if length > _NULL:
            count = _LENGTHS[length]
            length = int.from_bytes(data[begin : begin + count], 'little')
            begin += count
        value: Any = data[begin : begin + length]
        begin += length
        if encoding is not None:
            value = value.decode(encoding)
        if convert is not None:
            value = convert(value)
        row.append(value)
    return tuple(row)
