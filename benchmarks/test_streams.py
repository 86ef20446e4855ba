# SPDX-License-Identifier: Apache-2.0
"""Streams that are cut, in a small form."""

from benchmarks import streams


def test_every_stream_gets_every_message_once_in_order() -> None:
    options = ['--streams', '30', '--messages', '2000', '--cut', '0.2']
    options += ['--transport', 'both']
    assert streams.main(options) == 0
