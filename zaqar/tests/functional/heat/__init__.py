# SPDX-License-Identifier: Apache-2.0
"""Heat with our resource types, beside the service: real stacks."""
