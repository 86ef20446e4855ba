# SPDX-License-Identifier: Apache-2.0
"""The running service, asked by real clients."""
