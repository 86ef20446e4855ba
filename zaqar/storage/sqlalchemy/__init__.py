# SPDX-License-Identifier: Apache-2.0
"""The SQL driver: SQLite, PostgreSQL, MariaDB and MySQL."""
