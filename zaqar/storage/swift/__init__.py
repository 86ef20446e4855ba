# SPDX-License-Identifier: Apache-2.0
"""Message store on Swift: rows in SQL, large bodies as objects.

Swift has no compare-and-swap, so that claims cannot be built on it. State,
order and claims are therefore stored by the message store of the SQL driver,
in the database of the management store; Swift stores large bodies, cheaply
and in copies.
"""
