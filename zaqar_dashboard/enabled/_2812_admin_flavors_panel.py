# SPDX-License-Identifier: Apache-2.0
"""Enables the panel "Flavors"."""

PANEL = 'message_flavors'
PANEL_GROUP = 'messaging'
PANEL_DASHBOARD = 'admin'
ADD_PANEL = 'zaqar_dashboard.flavors.panel.Flavors'
