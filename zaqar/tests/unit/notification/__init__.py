"""Notifications without any server."""
