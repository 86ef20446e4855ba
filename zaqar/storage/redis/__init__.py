# SPDX-License-Identifier: Apache-2.0
"""Redis and Valkey as a back end of both planes.

Each operation is one call of a Lua script (``lua/``) on the keys of one queue,
which share a hash tag: nothing else sees its steps, and a cluster keeps them
on one server.
"""
