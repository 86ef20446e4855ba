"""Senders for each scheme, and their parts."""
