# SPDX-License-Identifier: Apache-2.0
"""Declarations of the operations on each resource."""
