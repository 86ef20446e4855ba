# SPDX-License-Identifier: Apache-2.0
"""The running WebSocket server, by real sockets."""
