# SPDX-License-Identifier: Apache-2.0
"""Requests that wait until a queue has messages for them."""
