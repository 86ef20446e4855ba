# SPDX-License-Identifier: Apache-2.0
"""Real servers for tests, each in a folder and on a port of its own."""
