# SPDX-License-Identifier: Apache-2.0
"""Tests of the transport for clients of Amazon SQS."""
