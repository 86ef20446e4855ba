# SPDX-License-Identifier: Apache-2.0
"""The WSGI application for clients of Amazon SQS."""

import datetime
import email.utils
import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any

from oslo_config import cfg

from zaqar.api import body_size_errors
from zaqar.api.dispatch import Dispatcher
from zaqar.api.operation import Body
from zaqar.api.requests_with_wait import Postponable
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.errors import InvalidRequest, ZaqarError
from zaqar.transport import caller_identity, log_context, sqs_path
from zaqar.transport.page_turn_and_message_wait import TURN, Turn
from zaqar.transport.sqs import (
    caller_by_signature,
    faults,
    json_protocol,
    query_protocol,
    signature_v4,
)
from zaqar.transport.sqs.action_context import ActionContext
from zaqar.transport.sqs.action_table import ACTIONS
from zaqar.transport.sqs.batch_checks_and_outcomes import Output
from zaqar.transport.sqs.caller_by_signature import Prover
from zaqar.transport.sqs.faults import Fault
from zaqar.transport.wsgi import header_checks_query_and_body_reading
from zaqar.transport.wsgi.middleware import GLOBAL_ID_KEY
from zaqar.transport.wsgi.responses import Response
from zaqar.transport.wsgi.waiting_requests_in_threads import WaitingInThreads
from zaqar.transport.wsgi_types import App, Environ, StartResponse

LOG = logging.getLogger(__name__)

#: Bytes of a request for each byte of its messages, and beside them: texts
#: may be escaped, and each entry has names of its own.
_ESCAPED, _BESIDE = 3, 256 * 1024


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class _Postponed(Exception):
    """The request runs again later: it has no answer yet."""


def longest_body(limits: Limits) -> int:
    """Return the bytes of the longest body that is read."""
    return _ESCAPED * limits.max_messages_post_size + _BESIDE


def with_sqs(
    app: App,
    conf: cfg.ConfigOpts,
    dispatcher: Dispatcher,
    waiting: WaitingInThreads,
) -> App:
    """Serve clients of Amazon SQS below their path, others as before."""
    served = Application(dispatcher, waiting, _prover(conf))

    def call(environ: Environ, start: StartResponse) -> Iterable[bytes]:
        if sqs_path.is_below(environ.get('PATH_INFO', '')):
            return served(environ, start)
        return app(environ, start)

    return call


def _prover(conf: cfg.ConfigOpts) -> Prover:
    if caller_identity.strategy(conf):
        from zaqar.transport.sqs.keystone_ec2_credentials import Ec2Credentials

        return Ec2Credentials.from_conf(conf)
    return caller_by_signature.Trusting()


class Application:
    """Answers requests of clients of Amazon SQS.

    :param waiting: has requests wait, unless their turns do
    :param clock: returns the present
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        waiting: WaitingInThreads,
        prover: Prover,
        clock: Callable[[], datetime.datetime] = _now,
    ) -> None:
        self._dispatcher = dispatcher
        self._waiting = waiting
        self._prover = prover
        self._clock = clock
        self._longest = longest_body(dispatcher.limits)
        self._body = Body(
            decode=bytes,
            schema={},
            required=False,
            too_large=body_size_errors.body_too_large,
        )

    def __call__(
        self, environ: Environ, start: StartResponse
    ) -> Iterable[bytes]:
        request_id = log_context.begin(environ.get(GLOBAL_ID_KEY, ''))[4:]
        is_json = json_protocol.is_used_by(environ)
        protocol = json_protocol if is_json else query_protocol
        status, headers = 200, {'x-amzn-RequestId': request_id}
        try:
            action, output = self._handle(environ, is_json)
            body = protocol.encode(action, output, request_id)
        except _Postponed:
            return Response(503)(environ, start)
        except Exception as error:
            fault = _fault(error)
            status = fault.status
            body, more = protocol.encode_fault(fault, request_id)
            headers |= {**more, **fault.headers}
            if status == 403:
                # Clients set their clocks by it.
                headers['Date'] = email.utils.format_datetime(
                    self._clock(), usegmt=True
                )
        response = Response(status, body, headers, protocol.CONTENT_TYPE)
        return response(environ, start)

    def _handle(self, environ: Environ, is_json: bool) -> tuple[str, Output]:
        body = self._read(environ)
        signature = signature_v4.read(environ, body)
        caller = caller_by_signature.caller(
            signature, self._prover, self._clock()
        )
        project = caller.identity.project
        log_context.name_project(project)
        turn: Turn | None = environ.get(TURN)
        if turn is not None:
            # Its later requests take turns with those of other projects.
            turn.project = project
        if is_json:
            name = json_protocol.action(environ)
            decode = functools.partial(json_protocol.decode, body)
        else:
            pairs = query_protocol.fields(environ, body)
            name = query_protocol.action(pairs)
            decode = functools.partial(query_protocol.decode, name, pairs)
        if name not in ACTIONS:
            raise Fault('InvalidAction', f'The action {name} is not valid.')
        action = ACTIONS[name]
        path = environ['PATH_INFO'].removeprefix(sqs_path.PATH).rstrip('/')
        context = ActionContext(
            self._dispatcher,
            caller,
            _endpoint(environ),
            path,
            functools.partial(self._wait, environ, project),
        )
        return name, action.run(context, decode(action.input))

    def _read(self, environ: Environ) -> bytes:
        """Return the body of a request."""
        try:
            received = header_checks_query_and_body_reading.read_body(
                environ, self._body, self._longest
            )
            if received is not None and received.size > self._longest:
                raise self._body.too_large(self._longest)
        except InvalidRequest as error:
            is_batch = (
                json_protocol.is_used_by(environ)
                and json_protocol.action(environ) == 'SendMessageBatch'
            )
            raise faults.of(
                error,
                invalid='BatchRequestTooLong'
                if is_batch
                else 'InvalidParameterValue',
            ) from error
        return received.text if received else b''

    def _wait(
        self,
        environ: Environ,
        project: str,
        run: Callable[[Postponable | None], Any],
    ) -> Any:
        """Run something that may wait for messages."""
        turn: Turn | None = environ.get(TURN)
        if turn is None:
            return self._waiting.run(environ, run)[0]
        if not turn.begin('claim_create', project):
            raise _Postponed
        result = run(turn)
        if turn.is_missed:
            raise _Postponed
        turn.weigh(result)
        return result


def _fault(error: Exception) -> Fault:
    if isinstance(error, Fault):
        return error
    if isinstance(error, ZaqarError):
        return faults.of(error)
    # Details of an unforeseen error are for the log alone.
    LOG.error('A request failed', exc_info=error)
    return Fault('InternalError', 'The request failed.')


def _endpoint(environ: Environ) -> str:
    """Return the endpoint of a request, as the client wrote it."""
    scheme = environ.get('HTTP_X_FORWARDED_PROTO', '').partition(',')[0]
    if scheme not in ('http', 'https'):
        scheme = environ['wsgi.url_scheme']
    host = environ.get('HTTP_HOST')
    if not host:
        host = f'{environ["SERVER_NAME"]}:{environ["SERVER_PORT"]}'
    mounted = environ.get('SCRIPT_NAME', '')
    return f'{scheme}://{host}{mounted}{sqs_path.PATH}'
