# SPDX-License-Identifier: Apache-2.0
"""Redis as it is run: restarted, failing over, resharded, secured."""
