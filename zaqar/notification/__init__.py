"""Notifications: fan-out, scheduling and delivery to subscribers."""
