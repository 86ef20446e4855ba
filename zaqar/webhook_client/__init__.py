# SPDX-License-Identifier: Apache-2.0
"""HTTP to receivers that are not trusted."""
