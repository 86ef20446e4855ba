# SPDX-License-Identifier: Apache-2.0
"""The HTTP server of ``zaqar-server``."""
