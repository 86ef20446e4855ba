# SPDX-License-Identifier: Apache-2.0
"""WebSocket: one connection, many requests, and pushes in between."""
