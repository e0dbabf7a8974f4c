// Drives the server with the AWS SDK for JavaScript, which speaks HTTP/2 in
// clear text from its first byte. Prints one line: ok.
import assert from 'node:assert/strict'
import * as k from '@aws-sdk/client-kinesis'

const client = new k.KinesisClient({
  endpoint: process.argv[2],
  region: 'us-east-1',
  credentials: { accessKeyId: 'anybody', secretAccessKey: 'anything' },
  maxAttempts: 1,
})
const StreamName = 'from-node'
await client.send(new k.CreateStreamCommand({ StreamName, ShardCount: 1 }))
await k.waitUntilStreamExists({ client, maxWaitTime: 20, minDelay: 1 }, { StreamName })
const { StreamDescriptionSummary: stream } = await client.send(new k.DescribeStreamSummaryCommand({ StreamName }))
assert.equal(stream.OpenShardCount, 1)
assert.ok(stream.StreamCreationTimestamp instanceof Date)

const data = Uint8Array.from({ length: 256 }, (_, i) => i)
const one = await client.send(new k.PutRecordCommand({ StreamName, Data: data, PartitionKey: 'ключ' }))
assert.match(one.SequenceNumber, /^\d{56}$/)
const many = await client.send(new k.PutRecordsCommand({
  StreamName,
  Records: Array.from({ length: 200 }, (_, i) => ({ Data: Buffer.from(String(i)), PartitionKey: 'k' })),
}))
assert.equal(many.FailedRecordCount, 0)

const { ShardIterator } = await client.send(new k.GetShardIteratorCommand({
  StreamName, ShardId: 'shardId-000000000000', ShardIteratorType: 'TRIM_HORIZON',
}))
const got = await client.send(new k.GetRecordsCommand({ ShardIterator }))
assert.equal(got.Records.length, 201)
assert.deepEqual(got.Records[0].Data, data)
assert.equal(got.Records[0].PartitionKey, 'ключ')
assert.equal(got.MillisBehindLatest, 0)

const { Consumer } = await client.send(new k.RegisterStreamConsumerCommand({ StreamARN: stream.StreamARN, ConsumerName: 'js' }))
for (let i = 0; i < 50; i++) {
  const { ConsumerDescription: c } = await client.send(new k.DescribeStreamConsumerCommand({ ConsumerARN: Consumer.ConsumerARN }))
  if (c.ConsumerStatus === 'ACTIVE') break
  await new Promise(r => setTimeout(r, 100))
}
const sub = await client.send(new k.SubscribeToShardCommand({
  ConsumerARN: Consumer.ConsumerARN, ShardId: 'shardId-000000000000', StartingPosition: { Type: 'LATEST' },
}))
const sent = []
setTimeout(async () => {
  for (let i = 0; i < 20; i++) {
    await client.send(new k.PutRecordCommand({ StreamName, Data: Buffer.from(`live ${i}`), PartitionKey: 'k' }))
  }
}, 200)
for await (const event of sub.EventStream) {
  for (const r of event.SubscribeToShardEvent.Records) sent.push(Buffer.from(r.Data).toString())
  if (sent.length >= 20) break
}
assert.deepEqual(sent, Array.from({ length: 20 }, (_, i) => `live ${i}`))

await assert.rejects(client.send(new k.DescribeStreamCommand({ StreamName: 'nowhere' })), e => e instanceof k.ResourceNotFoundException)
await assert.rejects(client.send(new k.CreateStreamCommand({ StreamName, ShardCount: 1 })), e => e instanceof k.ResourceInUseException)
console.log('ok')
client.destroy()
process.exit(0)
