# SPDX-License-Identifier: Apache-2.0
"""The panels of Horizon, as users see them."""
