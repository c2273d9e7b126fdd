"""What lies in S3 after a run: is every message of the backlog there, once, and with the values of the others' rows?"""

import dataclasses
import os

import boto3
import duckdb
import pyarrow
from pyarrow import dataset, fs

FIELDS = ["name", "gender", "address", "city", "nation", "zip", "latitude", "longitude", "email"]
NOTHING = dataset.dataset(pyarrow.table({field: pyarrow.array([], pyarrow.string()) for field in FIELDS}))
# Messages of a backlog are distinct, so two rows with one hash are one message stored twice. By chance two of
# 5,000,000 share a hash of 64 bits once in a million runs.
QUESTION = f"""
    select count(*), count(distinct hash), coalesce(sum(hash), 0), count(*) filter (broken)
    from (select hash({", ".join(FIELDS)}) as hash,
                 {" or ".join(f"{field} is null" for field in FIELDS)}
                     or not regexp_full_match(zip::varchar, '[0-9]{{1,39}}') as broken
          from stored)
"""


@dataclasses.dataclass
class Verdict:
    """`broken`: rows with a NULL or a zip that is no integer. `content` is the same for the same set of rows."""

    objects: int
    object_bytes: int
    rows: int
    lost: int
    duplicated: int
    broken: int
    content: str

    def flaws(self, reference):
        """In words what is wrong with it, beside `reference`, the verdict on a run that is right; empty if nothing."""
        counted = [
            (self.lost, "lost"),
            (self.duplicated, "duplicated"),
            (self.broken, "with NULL or a wrong zip"),
        ]
        found = [f"{count:,} {what}" for count, what in counted if count]
        if not found and self.content != reference.content:
            found.append("other values than ours")
        return ", ".join(found)


def judge(prefix, messages):
    """Reads every object below `prefix` of the bucket, as a plain reader does, and looks for so many messages."""
    store = fs.S3FileSystem(
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        endpoint_override=os.environ["AWS_ENDPOINT_URL_S3"],
        region=os.environ["AWS_REGION"],
    )
    selector = fs.FileSelector(f"{os.environ['S3_BUCKET']}/{prefix}", recursive=True, allow_not_found=True)
    objects = {found.path: found.size for found in store.get_file_info(selector) if found.path.endswith(".parquet")}
    # Of a store without objects nobody knows the columns.
    stored = dataset.dataset(list(objects), filesystem=store, format="parquet") if objects else NOTHING
    return Verdict(len(objects), sum(objects.values()), **count(stored, messages))


def count(stored, messages):
    """What a dataset holds, as the fields of a verdict."""
    connection = duckdb.connect()
    connection.register("stored", stored.scanner(columns=FIELDS).to_reader())
    rows, distinct, content, broken = connection.execute(QUESTION).fetchone()
    return {
        "rows": rows,
        "lost": max(0, messages - distinct),
        "duplicated": rows - distinct,
        "broken": broken,
        "content": f"{content:x}",
    }


def remove(prefix):
    """Removes all objects below `prefix`."""
    client = boto3.client("s3", region_name=os.environ["AWS_REGION"])
    bucket = os.environ["S3_BUCKET"]
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", []):
            client.delete_object(Bucket=bucket, Key=found["Key"])
