# SPDX-License-Identifier: Apache-2.0
"""The path below which clients of Amazon SQS are served."""

PATH = '/sqs'


def is_below(path: str) -> bool:
    """Tell whether a path is one of theirs."""
    return path == PATH or path.startswith(f'{PATH}/')
