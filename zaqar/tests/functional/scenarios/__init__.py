# SPDX-License-Identifier: Apache-2.0
"""Clients of 2.1 and of 2.0 on the same queues, over HTTP and WebSocket."""
