# SPDX-License-Identifier: Apache-2.0
"""What notifiers and WebSocket servers say to each other."""
