"""Keystone, without a server."""
