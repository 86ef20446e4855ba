# SPDX-License-Identifier: Apache-2.0
"""Files that Horizon reads from its folder of enabled plug-ins."""
