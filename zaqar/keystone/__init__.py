# SPDX-License-Identifier: Apache-2.0
"""Keystone: its service catalogue, and trusts for subscribers."""
