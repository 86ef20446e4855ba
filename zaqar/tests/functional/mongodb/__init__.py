# SPDX-License-Identifier: Apache-2.0
"""MongoDB beyond the contract: its failures, its costs, its settings."""
