# SPDX-License-Identifier: Apache-2.0
"""Actions on queues."""

from collections.abc import Collection, Mapping
from typing import Any

from zaqar.controllers.result_types import Counted, QueuePage
from zaqar.errors import Conflict, InvalidRequest, NotFound
from zaqar.transport.sqs import (
    action_input_types,
    faults,
    parameter_ranges,
    queue_attributes_as_metadata,
    queue_tags_as_metadata,
    queue_urls_arns_and_receipts,
)
from zaqar.transport.sqs.action_context import ActionContext
from zaqar.transport.sqs.batch_checks_and_outcomes import Output
from zaqar.transport.sqs.faults import Fault

#: Tries of a change that others get in the way of.
ATTEMPTS = 10


def create_queue(
    context: ActionContext, request: action_input_types.CreateQueue
) -> Output:
    """Create a queue; one with the same attributes is fine."""
    name = context.checked(request.queue_name)
    attributes = request.attributes or {}
    queue_attributes_as_metadata.check_fifo(name, attributes)
    fields = queue_attributes_as_metadata.defaults(name, context.limits)
    fields |= queue_attributes_as_metadata.to_metadata(
        attributes, context.own, fields
    )
    fields = {key: value for key, value in fields.items() if value is not None}
    if request.tags:
        fields[queue_tags_as_metadata.TAGS] = (
            queue_tags_as_metadata.checked_tags(request.tags)
        )
    _check_target(context, fields)
    try:
        is_new = context.run(
            'queue_create', name, query={'adopt': 'true'}, document=fields
        )
    except InvalidRequest as error:
        raise faults.of(error, invalid='InvalidAttributeValue') from error
    if not is_new and not _has(context, name, attributes):
        raise Fault(
            'QueueNameExists',
            'A queue already exists with the same name and a different value '
            'for an attribute.',
        )
    return {'QueueUrl': context.url(name)}


def get_queue_url(
    context: ActionContext, request: action_input_types.GetQueueUrl
) -> Output:
    owner = request.queue_owner_account or context.project
    name = context.own(
        queue_urls_arns_and_receipts.QueueName(owner, request.queue_name)
    )
    context.describe(name)
    return {'QueueUrl': context.url(name)}


def list_queues(
    context: ActionContext, request: action_input_types.ListQueues
) -> Output:
    query = {'prefix': request.queue_name_prefix or None}
    return _listed(context, request, query, 'QueueUrls')


def list_dead_letter_source_queues(
    context: ActionContext,
    request: action_input_types.ListDeadLetterSourceQueues,
) -> Output:
    name = context.queue(request.queue_url)
    context.describe(name)
    output = _listed(
        context, request, {'dead_letter_queue': name}, 'queueUrls'
    )
    return {'queueUrls': [], **output}


def delete_queue(
    context: ActionContext, request: action_input_types.OnQueue
) -> Output:
    """Delete a queue; a missing one is fine."""
    context.run('queue_delete', context.queue(request.queue_url))
    return {}


def purge_queue(
    context: ActionContext, request: action_input_types.OnQueue
) -> Output:
    context.run(
        'queue_purge',
        context.queue(request.queue_url),
        query={'existing': 'true'},
        document={'resource_types': ['messages']},
    )
    return {}


def get_queue_attributes(
    context: ActionContext, request: action_input_types.GetQueueAttributes
) -> Output:
    name = context.queue(request.queue_url)
    wanted = set(request.attribute_names or ())
    known = queue_attributes_as_metadata.KNOWN | {
        queue_attributes_as_metadata.ALL
    }
    faults.check_attributes(wanted, known)
    if queue_attributes_as_metadata.ALL in wanted:
        wanted = set(queue_attributes_as_metadata.KNOWN)
    attributes = queue_attributes_as_metadata.shown(
        context.describe(name), context.arn, name
    )
    if wanted & queue_attributes_as_metadata.COUNTS:
        counted: Counted = context.run('queue_get_stats', name)
        attributes |= queue_attributes_as_metadata.counts(counted)
    chosen = {
        name: value for name, value in attributes.items() if name in wanted
    }
    return {'Attributes': chosen} if chosen else {}


def set_queue_attributes(
    context: ActionContext, request: action_input_types.SetQueueAttributes
) -> Output:
    name = context.queue(request.queue_url)
    if 'FifoQueue' in request.attributes:
        raise Fault(
            'InvalidAttributeName',
            'FifoQueue cannot change once the queue is created.',
        )
    present = context.describe(name)
    fields = queue_attributes_as_metadata.to_metadata(
        request.attributes, context.own, present
    )
    _check_target(context, fields)
    _patch(
        context,
        name,
        [_change('add', key, value) for key, value in fields.items()],
    )
    return {}


def tag_queue(
    context: ActionContext, request: action_input_types.TagQueue
) -> Output:
    return _retag(context, request.queue_url, request.tags, ())


def untag_queue(
    context: ActionContext, request: action_input_types.UntagQueue
) -> Output:
    return _retag(context, request.queue_url, {}, request.tag_keys)


def list_queue_tags(
    context: ActionContext, request: action_input_types.OnQueue
) -> Output:
    metadata = context.describe(context.queue(request.queue_url))
    tags = queue_tags_as_metadata.tags(metadata)
    return {'Tags': tags} if tags else {}


def _check_target(context: ActionContext, fields: Mapping[str, Any]) -> None:
    """Check that the dead-letter queue of metadata exists."""
    target = fields.get('_dead_letter_queue')
    if target is None:
        return
    try:
        context.run('queue_get', target, query={'existing': 'true'})
    except NotFound:
        raise Fault(
            'InvalidAttributeValue',
            f'Dead letter target does not exist: {target}.',
        ) from None


def _has(
    context: ActionContext, name: str, attributes: Mapping[str, str]
) -> bool:
    """Tell whether an existing queue has some attributes."""
    present = context.describe(name)
    try:
        wanted = queue_attributes_as_metadata.to_metadata(
            attributes, context.own, present
        )
    except Fault:
        return False
    before = queue_attributes_as_metadata.shown(present, context.arn, name)
    after = queue_attributes_as_metadata.shown(
        {**present, **wanted}, context.arn, name
    )
    if attributes.get('FifoQueue') == 'true' and 'FifoQueue' not in before:
        return False
    return before == after


def _listed(
    context: ActionContext,
    request: action_input_types.ListQueues
    | action_input_types.ListDeadLetterSourceQueues,
    query: Mapping[str, object],
    member: str,
) -> Output:
    """Return URLs of queues, and where the next page begins."""
    wanted = request.max_results
    parameter_ranges.QUEUES.check(wanted)
    marker = None
    if request.next_token is not None:
        parts = queue_urls_arns_and_receipts.of_token(request.next_token, 1)
        if parts is None:
            raise faults.invalid('NextToken', 'it is no token of a page.')
        marker = parts[0]
    queues: list[str] = []
    size = wanted or parameter_ranges.QUEUES.most
    while True:
        limit = min(size - len(queues), context.limits.max_queues_per_page)
        page: QueuePage = context.run(
            'queue_list', query={**query, 'marker': marker, 'limit': limit}
        )
        queues += [queue.name for queue in page.queues]
        marker = page.marker
        if len(page.queues) < limit or len(queues) >= size:
            break
    output: Output = {}
    if queues:
        output[member] = [*map(context.url, queues)]
    # One that is cut has read a lot: another request reads on, even if this
    # one has not asked for pages.
    if page.is_cut or (wanted is not None and len(page.queues) == limit):
        output['NextToken'] = queue_urls_arns_and_receipts.token(str(marker))
    return output


def _retag(
    context: ActionContext,
    queue_url: str | None,
    added: Mapping[str, str],
    removed: Collection[str],
) -> Output:
    name = context.queue(queue_url)
    for _ in range(ATTEMPTS):
        metadata = context.describe(name)
        tags = {**queue_tags_as_metadata.tags(metadata), **added}
        for key in removed:
            tags.pop(key, None)
        tags = queue_tags_as_metadata.checked_tags(tags)
        key = queue_tags_as_metadata.TAGS
        try:
            _patch(
                context,
                name,
                [
                    # Others may change the tags at the same moment.
                    _change('test', key, metadata.get(key)),
                    _change('add', key, tags),
                ],
            )
        except Conflict:
            continue
        return {}
    raise Fault('ServiceUnavailable', 'Others change the tags of the queue.')


def _patch(context: ActionContext, name: str, changes: list[Output]) -> None:
    try:
        context.run('queue_update', name, document=changes)
    except NotFound as error:
        raise faults.of(error) from error
    except InvalidRequest as error:
        raise faults.of(error, invalid='InvalidAttributeValue') from error


def _change(op: str, key: str, value: Any) -> Output:
    return {'op': op, 'path': f'/metadata/{key}', 'value': value}


def unsupported(
    context: ActionContext, request: action_input_types.OnQueue
) -> Output:
    """Refuse what policies of queues would be needed for."""
    raise Fault(
        'UnsupportedOperation',
        'There are no permissions of single queues here. The policy of the '
        'service applies.',
    )
