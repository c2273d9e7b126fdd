#!/usr/bin/env python3
"""`make test-compose`: the stack of docker-compose.yml, as a user runs it, with a broker and a sink killed on the way.

It runs `make up OFFLINE=1` beside whatever else runs on this machine: as a project of its own, with free ports and
secrets of its own, and removes it all at the end. Where there is no Docker, or an image can't be had, it says so and
ends with exit code 0. Logs stay in target/compose-test. Python's standard library only.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "target" / "compose-test"
PROJECT = "names-pipeline-test"
PARTITIONS = 6
SINKS = 3
# Without these there is nothing to test. The Dockerfile's own are among them.
IMAGES = [
    "apache/kafka:4.3.1",
    "versity/versitygw:v1.8.0",
    "prom/prometheus:v3.14.0",
    "rust:1.95-bookworm",
    "gcr.io/distroless/static-debian13:nonroot",
]
IMAGE_BYTES_MAX = 25_000_000
# A sink that dies is replaced after Kafka's session timeout of 45 s.
WAIT_SECONDS = 180
# How long the flow is watched after something was killed.
FLOW_SECONDS = 10
PORTS = """KAFKA_1_PORT KAFKA_2_PORT KAFKA_3_PORT S3_PORT INGESTOR_PORT PROMETHEUS_PORT GRAFANA_PORT
           KAFKA_UI_PORT""".split()


def main():
    missing = what_is_missing()
    if missing:
        print(f"test-compose: SKIPPED: {missing}")
        return 0
    prepare_environment()
    try:
        scenario()
    except Exception as error:  # whatever it was: the logs are kept and nothing is left running
        keep_logs()
        print(f"test-compose: FAILED: {error}; logs in {LOGS.relative_to(ROOT)}", file=sys.stderr)
        return 1
    finally:
        call("make", "down", "VOLUMES=1", check=False)
    left = output("docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}")
    expect(not left, f"containers are left after `make down`: {left}")
    print("test-compose: passed")
    return 0


def scenario():
    step("docker compose config, for each profile")
    for profile in output("docker", "compose", "config", "--profiles").split():
        call("docker", "compose", "--profile", profile, "config", "--quiet")

    step("make up OFFLINE=1")
    call("make", "up", "OFFLINE=1")
    check_containers()
    check_images()
    eventually("rows are stored", lambda: query("sum(s3_sink_rows_stored_total)") > 0)

    step(f"make scale N={SINKS}: each sink gets its share, and Prometheus sees it")
    call("make", "scale", f"N={SINKS}")
    eventually("Prometheus sees each sink", lambda: query('sum(up{job="s3-sink"})') == SINKS)
    eventually("each sink has its share", lambda: shares() == [PARTITIONS // SINKS] * SINKS)

    step("a broker is killed: messages and rows go on")
    call("docker", "compose", "kill", "kafka-2")
    flows_on()

    step("a sink is killed: the others take over its partitions")
    call("docker", "kill", containers("s3-sink")[0]["ID"])
    eventually("the others have all partitions", lambda: sum(shares()) == PARTITIONS and len(shares()) == SINKS - 1)
    flows_on()

    step("make up again: what was killed comes back")
    call("make", "up", "OFFLINE=1")
    check_containers()
    eventually("each sink has its share", lambda: shares() == [PARTITIONS // SINKS] * SINKS)
    flows_on()

    step("Prometheus: targets and rules")
    check_prometheus()

    step("the ingestor drains, the sinks store the rest")
    call("docker", "compose", "stop", "ingestor")
    ended = containers("ingestor")[0]
    expect(ended["ExitCode"] == 0, f"the ingestor did not drain: exit code {ended['ExitCode']}")
    eventually("nothing waits", lambda: audit("--expect-drained").returncode == 0)
    rows = check_audit()
    check_sql(rows)

    step("the sinks leave")
    print_memory()
    call("docker", "compose", "stop", "s3-sink")
    codes = [container["ExitCode"] for container in containers("s3-sink")]
    expect(codes == [0] * SINKS, f"a sink did not drain: exit codes {codes}")


def what_is_missing():
    """One line, or nothing."""
    if not shutil.which("docker") or not succeeds("docker", "info"):
        return "there is no Docker engine here"
    if not succeeds("docker", "compose", "version"):
        return "the plugin `docker compose` is missing"
    for image in IMAGES:
        if not succeeds("docker", "image", "inspect", image) and not succeeds("docker", "pull", "--quiet", image):
            return f"the image {image} is not here and can't be pulled"
    return None


def prepare_environment():
    """Of this process and all that it calls."""
    # Not the .env of a stack that may run beside this one.
    os.environ.update(COMPOSE_PROJECT_NAME=PROJECT, COMPOSE_DISABLE_ENV_FILE="1", COMPOSE_PROFILES="demo-api")
    for name in re.findall("^([A-Z0-9_]+)=$", (ROOT / ".env.example").read_text(), re.MULTILINE):
        os.environ[name] = secrets.token_hex(20)
    os.environ.update({name: str(port) for name, port in zip(PORTS, free_ports(len(PORTS)))})
    # A steady stream, and chunks that are stored every few seconds.
    os.environ.update(SCHEDULE="continuous", API_RESULTS="200", PAUSE_SECONDS="0.5", CHUNK_AGE_SECONDS_MAX="5")
    # zstd is the codec that brokers unpack with a native library, which a read-only container must let them load.
    os.environ.update(INGESTOR_KAFKA_CONFIG="compression.codec=zstd")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def check_containers():
    for container in containers():
        name, state = container["Name"], (container["State"], container["Health"], container["ExitCode"])
        expect(state in (("running", "healthy", 0), ("exited", "", 0)), f"{name} is {state}")


def check_images():
    for name in ("ingestor", "s3-sink", "pipectl", "demo-api"):
        size = int(output("docker", "image", "inspect", "--format", "{{.Size}}", f"names-pipeline/{name}:dev"))
        print(f"  image {name}: {size / 1e6:.1f} MB")
        expect(size <= IMAGE_BYTES_MAX, f"the image {name} is larger than {IMAGE_BYTES_MAX / 1e6} MB")


def flows_on():
    """Messages are delivered, and chunks are stored, for a while after now."""
    until = time.time() + FLOW_SECONDS
    delivered = query("sum(ingestor_messages_delivered_total)")
    eventually("chunks are stored", lambda: query("max(s3_sink_last_stored_timestamp_seconds)") > until)
    eventually("messages are delivered", lambda: query("sum(ingestor_messages_delivered_total)") > delivered)


def shares():
    """Partitions of each sink that Prometheus reaches."""
    series = prometheus("query", query='s3_sink_partitions_assigned and on (instance) up{job="s3-sink"} == 1')["result"]
    return sorted(int(float(one["value"][1])) for one in series)


def check_prometheus():
    targets = prometheus("targets", state="active")["activeTargets"]
    down = [target["scrapeUrl"] for target in targets if target["health"] != "up"]
    expect(not down, f"targets are down: {down}")
    rules = [rule for group in prometheus("rules")["groups"] for rule in group["rules"]]
    failing = [rule["name"] for rule in rules if rule["health"] != "ok"]
    expect(rules and not failing, f"of {len(rules)} rules these fail: {failing}")
    eventually("no alert is firing", lambda: not firing())
    print(f"  {len(targets)} targets up, {len(rules)} rules")


def firing():
    return [alert["labels"]["alertname"] for alert in prometheus("alerts")["alerts"] if alert["state"] == "firing"]


def audit(*flags):
    command = ["make", "--no-print-directory", "audit", f"AUDIT={' '.join(flags)}"]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True)


def check_audit():
    """Returns the rows in the bucket."""
    found = audit("--deep", "--expect-drained")
    print("  " + "\n  ".join(found.stdout.strip().splitlines()[-3:]))
    expect(found.returncode == 0, f"the audit found something: {found.stdout}{found.stderr}")
    totals = re.search(r"(\d+) rows \+ \d+ dead letters in \d+ chunks, 0 lost, 0 duplicated", found.stdout)
    expect(totals and int(totals[1]) > 0, f"the audit counts no rows: {found.stdout}")
    return int(totals[1])


def check_sql(rows):
    counts = "count(*), count(distinct (kafka_partition, kafka_offset))"
    question = f"select format('rows={{}} distinct={{}}', {counts}) from names_topic"
    found = output("make", "--no-print-directory", "sql", f"Q={question}")
    expect(f"rows={rows} distinct={rows}" in found, f"`make sql` counts other rows than the audit's {rows}: {found}")


def print_memory():
    ids = [container["ID"] for container in containers() if container["State"] == "running"]
    for line in output("docker", "stats", "--no-stream", "--format", "{{.Name}}: {{.MemUsage}}", *ids).splitlines():
        print(f"  {line.removeprefix(PROJECT + '-')}")


def query(promql):
    """The value of a query that gives one number; 0 if there is none."""
    result = prometheus("query", query=promql)["result"]
    return float(result[0]["value"][1]) if result else 0.0


def prometheus(path, **parameters):
    url = f"http://127.0.0.1:{os.environ['PROMETHEUS_PORT']}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]


def containers(*services):
    lines = output("docker", "compose", "ps", "--all", "--format", "json", *services).splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def eventually(what, condition):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        expect(time.monotonic() < deadline, f"after {WAIT_SECONDS} s it is not true that {what}")
        time.sleep(1)
    print(f"  {what}", flush=True)


def keep_logs():
    LOGS.mkdir(parents=True, exist_ok=True)
    with open(LOGS / "containers.log", "w") as file:
        for command in ("logs --timestamps --no-color", "ps --all"):
            subprocess.run(["docker", "compose", *command.split()], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)


def expect(condition, otherwise):
    if not condition:
        raise AssertionError(otherwise)


def step(title):
    print(f"== {title} ({time.monotonic() - STARTED:.0f} s)", flush=True)


def call(*command, check=True):
    found = subprocess.run(command, cwd=ROOT)
    expect(not check or found.returncode == 0, f"`{' '.join(command)}` ended with exit code {found.returncode}")


def output(*command):
    found = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    expect(found.returncode == 0, f"`{' '.join(command)}` ended with exit code {found.returncode}: {found.stderr}")
    return found.stdout.strip()


def succeeds(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0


STARTED = time.monotonic()
if __name__ == "__main__":
    sys.exit(main())
