# SPDX-License-Identifier: Apache-2.0
"""Reasons of workers as bytes; they may hold unpaired surrogates."""


def encode(reason: str) -> bytes:
    return reason.encode('utf-8', 'surrogatepass')


def decode(data: bytes) -> str:
    return bytes(data).decode('utf-8', 'surrogatepass')
