# SPDX-License-Identifier: Apache-2.0
"""Clients of Amazon SQS against the running service."""
