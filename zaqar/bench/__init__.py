# SPDX-License-Identifier: Apache-2.0
"""The load generator behind ``zaqar-bench``: a client of a running service."""
