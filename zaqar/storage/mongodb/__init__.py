# SPDX-License-Identifier: Apache-2.0
"""The MongoDB driver: both stores on a replica set or a sharded cluster."""
