"""The tutorial's stream processing: Spark Structured Streaming from Kafka to Parquet on S3.

usage: spark_job.py TOPIC PREFIX JARS

Reads TOPIC from its start, parses each message by a schema, and appends Parquet below PREFIX/data, with a checkpoint
below PREFIX/checkpoint. It is the tutorial's job but for three things: the schema names the fields that the producer
writes, with types that hold their values; objects are compressed with zstd as ours are; and it ends when it has stored
what was there at its start. JARS is the folder of the connectors. Brokers, bucket and keys come from the environment.
"""

import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, from_json
from pyspark.sql.types import DoubleType, StringType, StructField, StructType

# Text for the zip: no number of Spark's holds 39 digits.
TEXTS = ["name", "gender", "address", "city", "nation", "zip"]
SCHEMA = StructType([
    *(StructField(name, StringType()) for name in TEXTS),
    StructField("latitude", DoubleType()),
    StructField("longitude", DoubleType()),
    StructField("email", StringType()),
])
S3A = {
    "endpoint": os.environ["AWS_ENDPOINT_URL_S3"],
    "endpoint.region": os.environ["AWS_REGION"],
    "aws.credentials.provider": "com.amazonaws.auth.EnvironmentVariableCredentialsProvider",
    "path.style.access": "true",
    # VersityGW keeps objects as files: a marker that is removed and a list of keys to delete confuse the two.
    "directory.marker.retention": "keep",
    "multiobjectdelete.enable": "false",
}


def main(topic, prefix, jars):
    spark = session(jars)
    messages = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", os.environ["KAFKA_BOOTSTRAP_SERVERS"])
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .load()
    )
    text = messages.selectExpr("CAST(value AS STRING)")
    rows = text.select(from_json(col("value"), SCHEMA).alias("data")).select("data.*")
    root = f"s3a://{os.environ['S3_BUCKET']}/{prefix}"
    query = (
        rows.writeStream.format("parquet")
        .outputMode("append")
        .option("path", f"{root}/data")
        .option("checkpointLocation", f"{root}/checkpoint")
        .option("compression", "zstd")
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    spark.stop()


def session(jars):
    builder = (
        SparkSession.builder.appName("tutorial")
        .master("local[*]")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.jars", ",".join(sorted(map(str, Path(jars).glob("*.jar")))))
        # What it spills and buffers stays in the folder that it was started in.
        .config("spark.local.dir", str(Path.cwd()))
        .config("spark.hadoop.hadoop.tmp.dir", str(Path.cwd()))
    )
    for name, value in S3A.items():
        builder = builder.config(f"spark.hadoop.fs.s3a.{name}", value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    return spark


if __name__ == "__main__":
    main(*sys.argv[1:])
