# SPDX-License-Identifier: Apache-2.0
"""A storage driver for Zaqar, written to be read: all data is in memory.

The data is lost when the server stops, so the driver does not declare the
capability DURABILITY.
"""
