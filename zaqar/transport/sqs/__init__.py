# SPDX-License-Identifier: Apache-2.0
"""Amazon SQS's protocol, for clients of that service."""
