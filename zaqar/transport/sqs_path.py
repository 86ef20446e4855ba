# SPDX-License-Identifier: Apache-2.0
"""Where clients of Amazon SQS are served, for who sees all requests."""

PATH = '/sqs'


def is_below(path: str) -> bool:
    """Tell whether a path is one of theirs."""
    return path == PATH or path.startswith(f'{PATH}/')
