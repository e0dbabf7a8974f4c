"""Drives the server with boto3 as Debian has it. Prints one line: ok."""

import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

url = sys.argv[1]
kinesis = boto3.client(
    "kinesis",
    endpoint_url=url,
    region_name="us-east-1",
    aws_access_key_id="anybody",
    aws_secret_access_key="anything",
    config=Config(retries={"max_attempts": 0}),
)

name = "from-python"
kinesis.create_stream(StreamName=name, ShardCount=2)
kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
assert name in kinesis.list_streams()["StreamNames"]

stream = kinesis.describe_stream(StreamName=name)["StreamDescription"]
assert stream["StreamStatus"] == "ACTIVE", stream
assert stream["RetentionPeriodHours"] == 24, stream
assert len(stream["Shards"]) == 2, stream
summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
assert summary["OpenShardCount"] == 2, summary
assert abs(summary["StreamCreationTimestamp"].timestamp() - time.time()) < 60, summary

kinesis.add_tags_to_stream(StreamName=name, Tags={"colour": "grey", "size": "L"})
tags = kinesis.list_tags_for_stream(StreamName=name)
assert {t["Key"]: t["Value"] for t in tags["Tags"]} == {"colour": "grey", "size": "L"}, tags
kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=48)
assert kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["RetentionPeriodHours"] == 48

kinesis.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId="alias/aws/kinesis")
one = kinesis.put_record(StreamName=name, Data=bytes(range(256)), PartitionKey="ключ")
assert one["EncryptionType"] == "KMS", one
kinesis.stop_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId="alias/aws/kinesis")
many = kinesis.put_records(
    StreamName=name,
    Records=[{"Data": b"%d" % i, "PartitionKey": "k", "ExplicitHashKey": "0" if i % 2 else str(2**128 - 1)} for i in range(100)],
)
assert many["FailedRecordCount"] == 0, many
last = None
for _ in range(3):
    args = {"SequenceNumberForOrdering": last} if last else {}
    put = kinesis.put_record(StreamName=name, Data=b"ordered", PartitionKey="same", **args)
    assert last is None or int(put["SequenceNumber"]) > int(last)
    last = put["SequenceNumber"]

records = []
for shard in kinesis.list_shards(StreamName=name)["Shards"]:
    at = kinesis.get_shard_iterator(StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    while True:
        got = kinesis.get_records(ShardIterator=at, Limit=30)
        records += got["Records"]
        at = got["NextShardIterator"]
        if not got["Records"] and got["MillisBehindLatest"] == 0:
            break
assert len(records) == 104, len(records)
binary = [r for r in records if r["PartitionKey"] == "ключ"]
assert [r["Data"] for r in binary] == [bytes(range(256))], binary
assert sorted(int(r["Data"]) for r in records if r["PartitionKey"] == "k") == list(range(100))

consumer = kinesis.register_stream_consumer(StreamARN=stream["StreamARN"], ConsumerName="py")["Consumer"]
for _ in range(50):
    d = kinesis.describe_stream_consumer(ConsumerARN=consumer["ConsumerARN"])["ConsumerDescription"]
    if d["ConsumerStatus"] == "ACTIVE":
        break
    time.sleep(0.1)
first = kinesis.list_shards(StreamName=name)["Shards"][0]["ShardId"]
sub = kinesis.subscribe_to_shard(ConsumerARN=consumer["ConsumerARN"], ShardId=first, StartingPosition={"Type": "TRIM_HORIZON"})
seen = 0
for event in sub["EventStream"]:
    e = event["SubscribeToShardEvent"]
    assert e["ContinuationSequenceNumber"], e
    seen += len(e["Records"])
    if seen >= 50:
        break
sub["EventStream"].close()

for call, args, code in [
    (kinesis.describe_stream, {"StreamName": "nowhere"}, "ResourceNotFoundException"),
    (kinesis.create_stream, {"StreamName": name, "ShardCount": 1}, "ResourceInUseException"),
    (kinesis.get_records, {"ShardIterator": "bm9uZQ=="}, "InvalidArgumentException"),
    (kinesis.describe_stream, {"StreamName": "a b"}, "ValidationException"),
]:
    try:
        call(**args)
        raise SystemExit(f"{code} was not raised")
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e.response
        assert e.response["ResponseMetadata"]["RequestId"], e.response

kinesis.delete_stream(StreamName=name, EnforceConsumerDeletion=True)
kinesis.get_waiter("stream_not_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
print("ok")
