# SPDX-License-Identifier: Apache-2.0
"""Enables the panel "Pools"."""

PANEL = 'message_pools'
PANEL_GROUP = 'messaging'
PANEL_DASHBOARD = 'admin'
ADD_PANEL = 'zaqar_dashboard.pools.panel.Pools'
