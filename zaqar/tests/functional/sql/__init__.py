# SPDX-License-Identifier: Apache-2.0
"""SQL databases as clouds run them: behind poolers."""
