# SPDX-License-Identifier: Apache-2.0
"""Message store on Swift: rows in SQL, large bodies as objects.

Swift knows no compare-and-swap, so that claims cannot be built on it. State,
order and claims are therefore kept by the message store of the SQL driver, in
the database of the management store; what Swift is good at, keeping large
bodies cheaply and in copies, is left to Swift.
"""
