# SPDX-License-Identifier: Apache-2.0
"""Tests of the WebSocket server that need no socket."""
