#!/usr/bin/env python3
"""SQL over the stack's bucket: `make sql` for a prompt, `make sql Q="select count(*) from names_topic"` for one query.

DuckDB answers; pyarrow reads the objects from S3. The table is named after the topic, and has the column `date` from
the keys beside the columns of the objects. Settings come from the environment and from .env.
"""

import os
import sys
from pathlib import Path

import duckdb
from pyarrow import dataset, fs

DOT_ENV = Path(__file__).resolve().parent.parent / ".env"
PROMPT = "sql> "


def main(arguments):
    settings = read_settings()
    topic = settings.get("KAFKA_TOPIC", "names_topic")
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")

    def ask(statement):
        return answer(connection, settings, topic, statement)

    if arguments:
        return 0 if ask(" ".join(arguments)) else 1
    print(f"The table is {topic}. One statement a line; Ctrl-D leaves.")
    return prompt(ask)


def read_settings():
    """.env, and the environment on top of it."""
    settings = {}
    if DOT_ENV.exists():
        lines = (line.strip() for line in DOT_ENV.read_text().splitlines())
        settings.update(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    settings.update(os.environ)
    for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY"):
        if not settings.get(name):
            sys.exit(f"sql: {name} is not set; `make up` creates .env with it")
    return settings


def open_topic(settings, topic):
    store = fs.S3FileSystem(
        access_key=settings["S3_ACCESS_KEY"],
        secret_key=settings["S3_SECRET_KEY"],
        endpoint_override=f"http://127.0.0.1:{settings.get('S3_PORT', '7070')}",
        region="us-east-1",
        connect_timeout=5,
    )
    parts = [settings.get("S3_BUCKET", "names"), settings.get("S3_PREFIX", "").strip("/"), topic]
    folder = "/".join(filter(None, parts))
    return dataset.dataset(folder, filesystem=store, format="parquet", partitioning="hive")


def prompt(ask):
    try:
        import readline  # noqa: F401  line editing and history, where Python has it
    except ImportError:
        pass
    while True:
        try:
            statement = input(PROMPT).strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return 0
        if statement:
            ask(statement)


def answer(connection, settings, topic, statement):
    """Runs one statement over the objects that are there now, and prints its rows. Returns whether it worked."""
    try:
        connection.register(topic, open_topic(settings, topic))
    except OSError as error:
        print(f"sql: no objects of {topic}: {error}; is the stack up, and has it stored any?", file=sys.stderr)
        return False
    try:
        result = connection.sql(statement)
        if result is not None:
            print(result)
    except (duckdb.Error, OSError) as error:
        print(f"sql: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
