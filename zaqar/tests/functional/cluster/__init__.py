# SPDX-License-Identifier: Apache-2.0
"""Databases of several nodes, under load and faults."""
