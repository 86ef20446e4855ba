# SPDX-License-Identifier: Apache-2.0
"""Speed of the service, and tests of its promises under kills."""
