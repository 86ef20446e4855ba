# SPDX-License-Identifier: Apache-2.0
"""What HTTP clients see: the application on SQLite, with a moved clock."""
