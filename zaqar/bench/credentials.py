# SPDX-License-Identifier: Apache-2.0
"""Credentials of the load generator."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from zaqar.errors import ConfigurationError

#: The project of a service without authentication.
PROJECT = 'zaqar-bench'

_CLOUDS = ('devstack-admin', 'devstack')


class SqsKeys(NamedTuple):
    """An access key and its secret."""

    access: str
    secret: str


def sqs_keys() -> SqsKeys:
    """Return the keys by which requests to Amazon SQS are signed."""
    access = os.environ.get('AWS_ACCESS_KEY_ID')
    secret = os.environ.get('AWS_SECRET_ACCESS_KEY')
    if access and secret:
        return SqsKeys(access, secret)
    if os.environ.get('OS_AUTH_STRATEGY') == 'keystone':
        raise ConfigurationError(
            '--sqs needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: see '
            '"openstack ec2 credentials create"'
        )
    return SqsKeys(PROJECT, 'secret')


def headers() -> Mapping[str, str]:
    """Return the headers that identify the caller."""
    if os.environ.get('OS_AUTH_STRATEGY') != 'keystone':
        return {'X-Project-ID': PROJECT}
    try:
        from keystoneauth1 import exceptions
        from openstack.config import OpenStackConfig
        from openstack.exceptions import SDKException
    except ImportError:
        raise ConfigurationError(
            'OS_AUTH_STRATEGY=keystone needs openstacksdk: pip install '
            'openstacksdk'
        ) from None
    try:
        session = OpenStackConfig().get_one(cloud=_cloud()).get_session()
        return {
            'X-Project-ID': session.get_project_id() or '',
            'X-Auth-Token': session.get_token() or '',
        }
    except (SDKException, exceptions.ClientException) as error:
        raise ConfigurationError(f'No token: {error}') from error


def _cloud() -> str | None:
    """Return the cloud of clouds.yaml; None to use the environment."""
    from openstack.config import OpenStackConfig

    if os.environ.get('OS_CLOUD') or os.environ.get('OS_AUTH_URL'):
        return None
    clouds = OpenStackConfig().get_cloud_names()
    return next((name for name in _CLOUDS if name in clouds), None)
