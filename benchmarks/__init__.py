# SPDX-License-Identifier: Apache-2.0
"""How fast the service is, and whether it keeps what it has acknowledged."""
