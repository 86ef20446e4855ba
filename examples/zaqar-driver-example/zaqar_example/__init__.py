# SPDX-License-Identifier: Apache-2.0
"""A storage driver for Zaqar, made to be read: everything is in memory.

Nothing survives the end of the server, so that the driver must not and does
not claim DURABILITY.
"""
