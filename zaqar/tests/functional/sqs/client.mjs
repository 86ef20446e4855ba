// SPDX-License-Identifier: Apache-2.0
// Prints what the SDK for JavaScript has sent and received.

import {
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  DeleteMessageCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';

const client = new SQSClient({
  region: 'a-region',
  endpoint: process.env.ENDPOINT,
  credentials: { accessKeyId: process.env.PROJECT, secretAccessKey: 's' },
});
const send = (Command, input) => client.send(new Command(input));

const { QueueUrl } = await send(CreateQueueCommand, { QueueName: 'jobs' });
// The SDK checks the MD5 of what it sends and receives.
await send(SendMessageCommand, {
  QueueUrl,
  MessageBody: 'one ä',
  MessageAttributes: {
    n: { DataType: 'Number', StringValue: '1' },
    b: { DataType: 'Binary', BinaryValue: new Uint8Array([0, 255]) },
  },
});
await send(SendMessageBatchCommand, {
  QueueUrl,
  Entries: [{ Id: 'a', MessageBody: 'two' }],
});
const { Messages } = await send(ReceiveMessageCommand, {
  QueueUrl,
  MaxNumberOfMessages: 10,
  MessageAttributeNames: ['All'],
  WaitTimeSeconds: 5,
});
for (const { Body, MessageAttributes, ReceiptHandle } of Messages) {
  console.log(Body, MessageAttributes?.b?.BinaryValue?.join() ?? '');
  await send(ChangeMessageVisibilityCommand, {
    QueueUrl,
    ReceiptHandle,
    VisibilityTimeout: 60,
  });
  await send(DeleteMessageCommand, { QueueUrl, ReceiptHandle });
}
try {
  await send(ReceiveMessageCommand, {
    QueueUrl: QueueUrl.replace('jobs', 'none'),
  });
} catch (error) {
  console.log(error.name);
}
