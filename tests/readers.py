#!/usr/bin/env python3
"""Do pyarrow, DuckDB and Polars read from the plain Parquet exactly what lay in Kafka?

usage: readers.py [FOLDER...]   each FOLDER with `messages.ndjson`, the topic's messages, and the
bucket they became at `stack/s3/names`; without one, those below `target/` that are there. Ends with
0 if every value agrees. Shares no code with the services: it decides for itself which messages are
rows, and on which day each one belongs.
"""
import argparse
import base64
import bisect
import collections
import datetime
import json
import math
import pathlib
import sys

import duckdb
import polars
import pyarrow
import pyarrow.parquet

DEFAULT_FOLDERS = ["demo", "e2e/dead-letters", "e2e/recorded", "e2e/seals", "e2e/only-dead-letters"]
ZIP_MAX = 2**128 - 1
FIELDS = ["name", "gender", "address", "city", "nation", "zip", "latitude", "longitude", "email"]
NUMBERS = {"latitude", "longitude"}
COLUMNS = FIELDS + ["kafka_partition", "kafka_offset", "kafka_timestamp"]
# The folders' column stands behind those of the files.
ALL_COLUMNS = COLUMNS + ["date"]
# Names in a report of differences.
SHOWN = 5

Row = collections.namedtuple("Row", ALL_COLUMNS)


class Finding(Exception):
    """What is wrong with a folder."""


def check(condition, finding):
    if not condition:
        raise Finding(finding)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=pathlib.Path, metavar="FOLDER")
    folders = parser.parse_args().folders
    if not folders:
        defaults = [pathlib.Path("target", name) for name in DEFAULT_FOLDERS]
        folders = [folder for folder in defaults if (folder / "messages.ndjson").exists()]
    compared, failed = 0, not folders
    if not folders:
        print("readers: nothing to read: run `make demo` and `make test` first", file=sys.stderr)
    for folder in folders:
        try:
            compared += check_folder(folder)
        except Finding as finding:
            print(f"readers: {folder}: {finding}", file=sys.stderr)
            failed = True
    if not failed and not compared:
        print("readers: not one row was compared", file=sys.stderr)
        failed = True
    if not failed:
        versions = ", ".join(f"{reader.NAME} {reader.VERSION}" for reader in READERS)
        print(f"readers: {compared} rows read, equal to their messages in {versions}")
    return int(failed)


def check_folder(folder):
    """Checks everything about one folder; returns how many rows each reader read."""
    messages = read_messages(folder / "messages.ndjson")
    bucket = folder / "stack" / "s3" / "names"
    files = sorted(bucket.glob("**/*.parquet"))
    check(files, f"no Parquet file below {bucket}: run `make demo` and `make test` again")
    topics = {file.parent.parent for file in files}
    check(len(topics) == 1, f"files of more than one topic: {sorted(map(str, topics))}")
    topic = str(topics.pop())

    empty = [str(file) for file in files if check_file(file) == 0]
    expected = expected_rows(messages, files)
    for reader in READERS:
        try:
            check_reader(reader, folder.name, topic, expected, empty)
        except Finding as finding:
            raise Finding(f"{reader.NAME} {reader.VERSION}: {finding}") from None
    print(
        f"{folder}: messages {len(messages)}, rows {len(expected)}, files {len(files)} "
        f"(without rows {len(empty)}), dates {len({row.date for row in expected})}: all equal"
    )
    return len(expected)


def check_reader(reader, scenario, topic, expected, empty):
    schema = reader.schema(topic)
    check(list(schema.items()) == list(reader.SCHEMA.items()), f"the schema is {schema}")
    rows = reader.rows(topic)
    compare(rows, expected)
    for day in sorted({row.date for row in expected}):
        want = sorted((row.kafka_partition, row.kafka_offset) for row in expected if row.date == day)
        got = sorted(reader.coordinates_of_day(topic, day))
        check(got == want, f"date = {day} selects {len(got)} rows in place of {len(want)}")
    check(not reader.coordinates_of_day(topic, "1999-12-31"), "rows on a day that has none")
    for file in empty:
        count, names = reader.alone(file)
        check(not count, f"{file} has no rows, yet {count} were read")
        # Of one file alone pyarrow leaves the folder's date out.
        check(names in (COLUMNS, ALL_COLUMNS), f"{file} has the columns {names}")
    if scenario == "dead-letters":
        check(any(row.zip == str(ZIP_MAX) for row in rows), f"no row has zip {ZIP_MAX}")
    if scenario == "only-dead-letters":
        check(empty, "there is no file without rows")


def compare(rows, expected):
    """Fails unless both hold the same rows, in any order, with the same types and every bit."""
    wanted = {(row.kafka_partition, row.kafka_offset): row for row in expected}
    seen = collections.Counter((row.kafka_partition, row.kafka_offset) for row in rows)
    for what, coordinates in [
        ("lost", wanted.keys() - seen.keys()),
        ("no message's", seen.keys() - wanted.keys()),
        ("duplicated", {place for place, count in seen.items() if count > 1}),
    ]:
        check(not coordinates, f"{len(coordinates)} rows are {what}: {sorted(coordinates)[:SHOWN]}")
    for row in rows:
        want = wanted[row.kafka_partition, row.kafka_offset]
        for column, got, value in zip(ALL_COLUMNS, row, want):
            # `repr` tells 1 from 1.0 and from "1", 0.0 from -0.0, and any two floats apart.
            place = f"partition {row.kafka_partition} offset {row.kafka_offset}"
            check(repr(got) == repr(value), f"{place}: {column} is {got!r} in place of {value!r}")


# What should be there, from the messages alone.


def read_messages(path):
    """The messages by coordinates."""
    check(path.exists(), f"no {path.name}: run `make demo` and `make test` first")
    messages = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            message = json.loads(line)
            if "payload_base64" in message:
                message["payload"] = base64.b64decode(message["payload_base64"])
            messages[message["partition"], message["offset"]] = message
    check(messages, f"{path.name} holds no message")
    return messages


def expected_rows(messages, files):
    """The row of each message that can be one. Its date is the UTC day of the first message of its
    file; the file is the last one of the partition that begins at or before it."""
    starts = collections.defaultdict(list)
    for file in files:
        _, partition, start = file.stem.rsplit("+", 2)
        starts[int(partition)].append(int(start))
    for offsets in starts.values():
        offsets.sort()
    rows = []
    for (partition, offset), message in messages.items():
        person = person_of(message)
        if person is None:
            continue
        index = bisect.bisect_right(starts[partition], offset) - 1
        check(index >= 0, f"no file holds partition {partition} offset {offset}")
        first = messages.get((partition, starts[partition][index]))
        check(first, f"no message where the file of partition {partition} offset {offset} begins")
        seconds = first["timestamp"] // 1000
        day = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).date().isoformat()
        rows.append(Row(**person, kafka_partition=partition, kafka_offset=offset,
                        kafka_timestamp=message["timestamp"], date=day))
    return rows


class Object(dict):
    """A JSON object that remembers names that came more than once."""

    def __init__(self, pairs):
        super().__init__(pairs)
        names = collections.Counter(name for name, _ in pairs)
        self.repeated = {name for name, count in names.items() if count > 1}


def person_of(message):
    """The nine fields, or None for what is a dead letter."""
    versions = [value for name, value in message["headers"] if name == "schema-version"]
    if versions[:1] not in ([], ["1"]) or not isinstance(message["payload"], str):
        return None
    try:
        # Python's integers have no end. Only -0 must become a float, lest its sign be lost.
        person = json.loads(
            message["payload"],
            object_pairs_hook=Object,
            parse_int=lambda digits: -0.0 if digits == "-0" else int(digits),
            parse_constant=lambda name: refuse(f"{name} is no JSON"),
        )
    except ValueError:
        return None
    if not isinstance(person, Object) or person.repeated.intersection(FIELDS):
        return None
    values = {field: value_of(field, person.get(field)) for field in FIELDS}
    return None if None in values.values() else values


def value_of(field, value):
    """The value as its column holds it, or None if it can't."""
    if field in NUMBERS:
        try:
            number = float(value) if type(value) in (int, float) else math.nan
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    if field == "zip":
        is_text = isinstance(value, str) and value.isascii() and value.isdigit()
        number = int(value) if is_text else value
        return str(number) if type(number) is int and 0 <= number <= ZIP_MAX else None
    # Half a surrogate pair is no text.
    is_text = isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)
    return value if is_text else None


def refuse(reason):
    raise ValueError(reason)


# What each reader makes of the files.


def check_file(file):
    """Checks what a file says about itself; returns how many rows it has."""
    with pyarrow.parquet.ParquetFile(file) as parquet:
        schema, metadata = parquet.schema_arrow, parquet.metadata
    check(schema.names == COLUMNS, f"{file} has the columns {schema.names}")
    check(not any(field.nullable for field in schema), f"{file} has a column that may be null")
    ids = [(field.metadata or {}).get(b"PARQUET:field_id") for field in schema]
    wanted = [str(number).encode() for number in range(1, len(COLUMNS) + 1)]
    check(ids == wanted, f"{file} has the field ids {ids}")
    for group in range(metadata.num_row_groups):
        columns = [metadata.row_group(group).column(index) for index in range(len(COLUMNS))]
        codecs = {column.compression for column in columns}
        check(codecs == {"ZSTD"}, f"{file} is compressed with {codecs}")
    return metadata.num_rows


def typed(text, double, int32, int64, timestamp, date):
    """Every column with a reader's name for its type."""
    types = dict.fromkeys(FIELDS, text) | dict.fromkeys(NUMBERS, double)
    kafka = {"kafka_partition": int32, "kafka_offset": int64, "kafka_timestamp": timestamp}
    return types | kafka | {"date": date}


class Pyarrow:
    """The way pandas reads, too. It leaves the date as text."""

    NAME, VERSION = "pyarrow", pyarrow.__version__
    SCHEMA = typed("string", "double", "int32", "int64", "timestamp[ms, tz=UTC]",
                   "dictionary<values=string, indices=int32, ordered=0>")

    @staticmethod
    def schema(path):
        table = pyarrow.parquet.read_table(path)
        return {field.name: str(field.type) for field in table.schema}

    @staticmethod
    def rows(path):
        table = pyarrow.parquet.read_table(path)
        index = table.schema.get_field_index("kafka_timestamp")
        milliseconds = table.column(index).cast(pyarrow.int64())
        table = table.set_column(index, "kafka_timestamp", milliseconds)
        return [Row(**row) for row in table.to_pylist()]

    @staticmethod
    def coordinates_of_day(path, day):
        columns = ["kafka_partition", "kafka_offset"]
        table = pyarrow.parquet.read_table(path, columns=columns, filters=[("date", "=", day)])
        return [(row["kafka_partition"], row["kafka_offset"]) for row in table.to_pylist()]

    @staticmethod
    def alone(file):
        table = pyarrow.parquet.read_table(file)
        return table.num_rows, table.column_names


class DuckDB:
    NAME, VERSION = "DuckDB", duckdb.__version__
    SCHEMA = typed("VARCHAR", "DOUBLE", "INTEGER", "BIGINT", "TIMESTAMP WITH TIME ZONE", "DATE")

    @staticmethod
    def source(path):
        pattern = path if path.endswith(".parquet") else f"{path}/*/*.parquet"
        return f"read_parquet('{pattern}', hive_partitioning = true)"

    @classmethod
    def schema(cls, path):
        described = duckdb.sql(f"DESCRIBE SELECT * FROM {cls.source(path)}").fetchall()
        return {name: kind for name, kind, *_ in described}

    @classmethod
    def rows(cls, path):
        # As a value of Python the time would lose its unit.
        replaced = "epoch_ms(kafka_timestamp) AS kafka_timestamp, date::VARCHAR AS date"
        query = f"SELECT * REPLACE ({replaced}) FROM {cls.source(path)}"
        return [Row(*row) for row in duckdb.sql(query).fetchall()]

    @classmethod
    def coordinates_of_day(cls, path, day):
        columns = "kafka_partition, kafka_offset"
        query = f"SELECT {columns} FROM {cls.source(path)} WHERE date = DATE '{day}'"
        return duckdb.sql(query).fetchall()

    @classmethod
    def alone(cls, file):
        relation = duckdb.sql(f"SELECT * FROM {cls.source(file)}")
        return len(relation.fetchall()), relation.columns


class Polars:
    NAME, VERSION = "Polars", polars.__version__
    SCHEMA = typed("String", "Float64", "Int32", "Int64",
                   "Datetime(time_unit='ms', time_zone='UTC')", "Date")

    @staticmethod
    def scan(path):
        return polars.scan_parquet(path, hive_partitioning=True)

    @classmethod
    def schema(cls, path):
        return {name: str(kind) for name, kind in cls.scan(path).collect_schema().items()}

    @classmethod
    def rows(cls, path):
        milliseconds = polars.col("kafka_timestamp").dt.epoch("ms")
        frame = cls.scan(path).with_columns(milliseconds, polars.col("date").dt.to_string())
        return [Row(**row) for row in frame.collect().to_dicts()]

    @classmethod
    def coordinates_of_day(cls, path, day):
        of_day = cls.scan(path).filter(polars.col("date") == datetime.date.fromisoformat(day))
        return of_day.select("kafka_partition", "kafka_offset").collect().rows()

    @classmethod
    def alone(cls, file):
        frame = cls.scan(file).collect()
        return frame.height, frame.columns


READERS = [Pyarrow, DuckDB, Polars]

if __name__ == "__main__":
    sys.exit(main())
