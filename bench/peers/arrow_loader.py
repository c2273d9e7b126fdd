"""A loader as a careful engineer writes it in Python: Kafka to Parquet on S3 with librdkafka, Arrow and boto3.

usage: arrow_loader.py TOPIC PREFIX

Stores what lies in TOPIC as objects below PREFIX, then ends. Brokers, bucket and keys come from the environment. Every
part that touches a message is native code: one call takes thousands of messages, Arrow decodes and encodes all of a
chunk at once. The zip, an integer of up to 39 digits, becomes text before any parser can round it. Offsets are
committed after the PUT, so a crash repeats rows but loses none.
"""

import os
import re
import sys
import uuid

import boto3
import pyarrow
from confluent_kafka import Consumer, KafkaException, TopicPartition
from pyarrow import json, parquet

ROWS_MAX = 250_000
MESSAGES_AT_ONCE = 10_000
WAIT_SECONDS = 0.25
ANSWER_SECONDS_MAX = 30
BARE_ZIP = re.compile(rb'"zip":\s*(\d+)')
TEXT, NUMBER = pyarrow.string(), pyarrow.float64()
SCHEMA = pyarrow.schema([
    ("name", TEXT), ("gender", TEXT), ("address", TEXT), ("city", TEXT), ("nation", TEXT), ("zip", TEXT),
    ("latitude", NUMBER), ("longitude", NUMBER), ("email", TEXT),
])
# The others repeat too rarely to be worth one.
DICTIONARIES = ["gender", "city", "nation"]


def main(topic, prefix):
    consumer = Consumer({
        "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        "group.id": prefix,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        # Waits 10 ms instead of a second where the queue was full: a backlog takes a fraction of the time.
        "fetch.queue.backoff.ms": 10,
    })
    store = boto3.client("s3", region_name=os.environ["AWS_REGION"])
    remaining = count_remaining(consumer, topic)
    consumer.subscribe([topic])
    chunk = []
    while remaining:
        payloads = [payload(message) for message in consumer.consume(MESSAGES_AT_ONCE, WAIT_SECONDS)]
        chunk += payloads
        remaining -= len(payloads)
        if len(chunk) >= ROWS_MAX or not remaining:
            key = f"{prefix}/{uuid.uuid4()}.parquet"
            store.put_object(Bucket=os.environ["S3_BUCKET"], Key=key, Body=encode(decode(chunk)))
            # Of everything that was taken so far: all of it is in S3 now.
            consumer.commit(asynchronous=False)
            chunk = []
    consumer.close()


def count_remaining(consumer, topic):
    """Messages from where the group stands, else from the start, to the current end."""
    metadata = consumer.list_topics(topic, ANSWER_SECONDS_MAX).topics[topic]
    if metadata.error:
        raise KafkaException(metadata.error)
    partitions = [TopicPartition(topic, number) for number in metadata.partitions]
    remaining = 0
    for committed in consumer.committed(partitions, ANSWER_SECONDS_MAX):
        first, end = consumer.get_watermark_offsets(committed, ANSWER_SECONDS_MAX)
        remaining += end - max(first, committed.offset)
    return remaining


def payload(message):
    if message.error():
        raise KafkaException(message.error())
    return message.value()


def decode(payloads):
    lines = BARE_ZIP.sub(rb'"zip":"\1"', b"\n".join(payloads))
    table = json.read_json(
        pyarrow.BufferReader(lines),
        json.ReadOptions(block_size=8 << 20),
        json.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="ignore"),
    )
    if table.num_rows != len(payloads) or any(column.null_count for column in table.columns):
        raise ValueError(f"{len(payloads)} messages became {table.num_rows} rows, or a field was missing")
    return table


def encode(table):
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd", use_dictionary=DICTIONARIES)
    return sink.getvalue().to_pybytes()


if __name__ == "__main__":
    main(*sys.argv[1:])
