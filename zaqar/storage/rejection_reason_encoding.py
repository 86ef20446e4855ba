# SPDX-License-Identifier: Apache-2.0
"""Encoding of reasons of rejections, which may hold unpaired surrogates."""


def encode(reason: str) -> bytes:
    return reason.encode('utf-8', 'surrogatepass')


def decode(data: bytes) -> str:
    return bytes(data).decode('utf-8', 'surrogatepass')
