#!/usr/bin/env python3
"""Our sink and other ways to the same Parquet, one after the other over the same backlog: `make bench-peers`.

usage: compare.py MESSAGES TARGET_DIR

Fills a topic, lets each contender store all of it, and judges what then lies in S3. Ours is first and last: the
difference is the noise. Each runs over a few messages before, which shows what its start takes. Prints a table, and
writes its figures to TARGET_DIR/bench/peers.json; logs are in TARGET_DIR/bench/peers. Ends with 0 if every contender
has stored each message once. Brokers and store come from the environment.
"""

import dataclasses
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka.admin import AdminClient

import table
from judge import judge, remove
from measure import measure

HERE = Path(__file__).resolve().parent
PARTITIONS = 6
SECONDS_MAX = 3600
# Of the Javas that this Spark runs on, the one that Kafka's brokers run on too.
JAVA = 17
OURS = "ours"
# So few that all the time goes into starting, and ending.
START_MESSAGES = 10


class Failure(Exception):
    """What went wrong, and what to do about it."""


def main(messages, target):
    messages, target = int(messages), Path(target).resolve()
    check_java()
    folder = target / "bench" / "peers"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    bench = Bench(target, folder, messages)
    try:
        bench.fill()
        results = bench.run()
    finally:
        bench.clean()
    print(table.render(results))
    (target / "bench" / "peers.json").write_text(json.dumps(report(messages, results), indent=2) + "\n")
    return 1 if any(result["flaws"] for result in results) else 0


def check_java():
    """Before the backlog is made, not after."""
    found = java_version()
    if found.split(".")[0] != str(JAVA):
        raise Failure(f"Spark needs Java {JAVA}, found {found}; install it, or let JAVA_HOME name it "
                      f"(Debian: apt-get install openjdk-{JAVA}-jre-headless)")


def java_version():
    """Of the Java that Spark takes."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(f"{home}/bin/java" if home else "java")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr if java else ""
    version = re.search(r'version "([^"]+)', said)
    return version[1] if version else "none"


class Bench:
    """One backlog, and all who store it."""

    def __init__(self, target, folder, messages):
        self.binary = target / "release" / "bench"
        # Each is called with the topic, a prefix for its objects, and what stands here behind its script.
        self.peers = {
            "Spark job of the tutorial": ("spark_job.py", target / "bench" / "jars"),
            "Python and Arrow loader": ("arrow_loader.py",),
        }
        self.folder, self.messages = folder, messages
        self.prefix = f"peers-{time.time_ns() // 1_000_000}"
        self.topics = []

    def fill(self):
        """Makes a topic with next to nothing, which shows what it takes to start, and the one with the backlog."""
        print(f"filling a topic with {self.messages:,} messages over {PARTITIONS} partitions", flush=True)
        for messages in (START_MESSAGES, self.messages):
            self.topics.append(self.ask_ours("fill", messages)[-1])

    def run(self):
        """Every contender's result, in order."""
        results = [self.run_ours("first")]
        for name, (script, *more) in self.peers.items():
            results.append(self.run_peer(name, script, more))
        results.append(self.run_ours("again"))
        reference = results[0]["verdict"]
        for result in results:
            flaws = result.pop("verdict").flaws(reference)
            result["flaws"] = ", ".join(filter(None, [result["flaws"], flaws]))
        return results

    def run_ours(self, label):
        """`bench sink` measures it itself, and fails unless the deep audit finds each offset once."""
        name = f"{OURS}, {label}"
        print(f"running {name}", flush=True)
        prefix = f"{self.prefix}/{label}"
        start, backlog = (
            json.loads(self.ask_ours("sink", messages, "--topic", topic, prefix=f"{prefix}/{part}")[-1])
            for part, topic, messages in self.parts()
        )
        audited = {key: backlog[key] for key in ("rows", "lost", "duplicated")}
        flaws = "" if audited == {"rows": self.messages, "lost": 0, "duplicated": 0} else f"audit: {audited}"
        measured = {key: backlog[key] for key in ("cpu_seconds_per_million", "messages_per_second", "peak_rss_bytes")}
        measured["start_cpu_seconds"] = start["cpu_seconds_per_million"] * START_MESSAGES / 1e6
        return self.result(name, measured, prefix, flaws)

    def run_peer(self, name, script, more):
        print(f"running {name}", flush=True)
        label = Path(script).stem
        prefix = f"{self.prefix}/{label}"
        start, backlog = (
            self.measure_peer([HERE / script, topic, f"{prefix}/{part}", *more], f"{label}-{part}")
            for part, topic, _ in self.parts()
        )
        measured = {
            "cpu_seconds_per_million": backlog.cpu_seconds / self.messages * 1e6,
            "messages_per_second": self.messages / backlog.seconds,
            "peak_rss_bytes": backlog.peak_rss_bytes,
            "start_cpu_seconds": start.cpu_seconds,
        }
        failed = start.status or backlog.status
        flaws = f"ended with {failed}, see {self.folder}" if failed else ""
        return self.result(name, measured, prefix, flaws)

    def measure_peer(self, arguments, label):
        work = self.folder / label
        work.mkdir()
        log = self.folder / f"{label}.log"
        usage = measure([sys.executable, *arguments], dict(os.environ), work, log, SECONDS_MAX)
        shutil.rmtree(work)
        return usage

    def parts(self):
        """The two runs of a contender: name, topic, number of messages."""
        return zip(("start", "backlog"), self.topics, (START_MESSAGES, self.messages))

    def result(self, name, measured, prefix, flaws):
        """What is reported of a run. Its objects are judged, then removed: all together they might not fit the disk."""
        verdict = judge(f"{prefix}/backlog", self.messages)
        remove(prefix)
        return {"name": name, "messages": self.messages, **measured, **dataclasses.asdict(verdict),
                "flaws": flaws, "verdict": verdict}

    def ask_ours(self, command, messages, *arguments, prefix=None):
        """Runs a command of our bench binary; the lines that it printed."""
        environment = {**os.environ, **({"S3_PREFIX": prefix} if prefix else {})}
        full = [self.binary, command, str(messages), str(PARTITIONS), *arguments]
        done = subprocess.run(full, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode or not done.stdout:
            raise Failure(f"`{self.binary} {command}` ended with {done.returncode}, see above")
        return done.stdout.splitlines()

    def clean(self):
        """Removes the topics, those that belong to them, and all objects."""
        remove(f"{self.prefix}/")
        admin = AdminClient({"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"]})
        theirs = [name for name in admin.list_topics(timeout=30).topics
                  if any(name == topic or name.startswith(f"{topic}.") for topic in self.topics)]
        if theirs:
            for deleted in admin.delete_topics(theirs).values():
                deleted.result()


def report(messages, results):
    """What another program may want to know: the figures, and what they were measured with."""
    requirements = (HERE / "requirements.txt").read_text().splitlines()
    packages = dict(line.split("==") for line in requirements if "==" in line)
    return {
        "messages": messages,
        "partitions": PARTITIONS,
        "cores": os.cpu_count(),
        "versions": {"python": platform.python_version(), "java": java_version(), **packages},
        "results": results,
    }


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        sys.exit(main(*sys.argv[1:]))
    except Failure as failure:
        sys.exit(f"bench-peers: {failure}")
