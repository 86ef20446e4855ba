"""Notifications over real sockets."""
