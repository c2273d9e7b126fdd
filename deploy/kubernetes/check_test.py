"""Breaks good manifests in one place at a time: `check_test.py AWS CONTINUOUS`. check.py has to notice each."""

import copy
import shutil
import sys
from pathlib import Path

import yaml
from check import Facts, problems_of


def at(docs, kind, name, *path):
    """What lies at a path of a resource; `name` is how its name begins."""
    [found] = [doc for doc in docs if doc["kind"] == kind and doc["metadata"]["name"].startswith(name)]
    for step in path:
        found = found[step]
    return found


POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
SINK = ("Deployment", "s3-sink")

# What is broken, how, and a part of what must be said about it.
BREAKAGES = [
    ("an unknown field", lambda d: at(d, *SINK, "spec").update(replicaCount=2), "replicaCount"),
    ("a wrong type", lambda d: at(d, *SINK, "spec").update(minReadySeconds="15"), "minReadySeconds"),
    ("a missing field", lambda d: at(d, *SINK, "spec").pop("selector"), "selector"),
    (
        "a field that is too deep",
        lambda d: at(d, *SINK, "spec").update(terminationGracePeriodSeconds=60),
        "terminationGrace",
    ),
    ("an unknown kind", lambda d: at(d, *SINK).update(kind="Deploymnt"), "no schema"),
    ("an old API version", lambda d: at(d, "CronJob", "ingestor").update(apiVersion="batch/v1beta1"), "no schema"),
    (
        "an unknown field of a ScaledObject",
        lambda d: at(d, "ScaledObject", "s3-sink", "spec").update(max=6),
        "spec.max",
    ),
    (
        "a number in a trigger's metadata",
        lambda d: at(d, "ScaledObject", "s3-sink", "spec", "triggers", 0, "metadata").update(lagThreshold=5),
        "lagThreshold",
    ),
    (
        "an interval that is none",
        lambda d: at(d, "PodMonitor", "pipeline", "spec", "podMetricsEndpoints", 0).update(interval="15 s"),
        "interval",
    ),
    (
        "a setting that is none",
        lambda d: at(d, "ConfigMap", "s3-sink-s", "data").update(CHUNK_BYTES="1"),
        "CHUNK_BYTES",
    ),
    (
        "another program's setting",
        lambda d: at(d, "ConfigMap", "ingestor-s", "data").update(S3_BUCKET="x"),
        "S3_BUCKET",
    ),
    ("no bucket", lambda d: at(d, "ConfigMap", "s3-sink-s", "data").pop("S3_BUCKET"), "S3_BUCKET is not set"),
    ("a password in a ConfigMap", lambda d: at(d, "ConfigMap", "kafka-s", "data").update(KAFKA_CONFIG="x"), "Secret"),
    (
        "a password in a Deployment",
        lambda d: at(d, *SINK, *CONTAINER, "env").append({"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}),
        "must come from a Secret",
    ),
    (
        "a Secret in the manifests",
        lambda d: d.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}),
        "does not belong",
    ),
    (
        "a Secret's key that nobody knows",
        lambda d: at(d, *SINK, *CONTAINER, "env", 0, "valueFrom", "secretKeyRef").update(key="CONFIG"),
        "does not list",
    ),
    ("a missing ConfigMap", lambda d: d.remove(at(d, "ConfigMap", "ingestor-s")), "is missing"),
    ("a missing ServiceAccount", lambda d: d.remove(at(d, "ServiceAccount", "topics")), "is missing"),
    ("a mounted token", lambda d: at(d, *SINK, *POD).pop("automountServiceAccountToken"), "token"),
    (
        "a probe of a path that is none",
        lambda d: at(d, *SINK, *CONTAINER, "readinessProbe", "httpGet").update(path="/ready"),
        "readinessProbe",
    ),
    (
        "a liveness probe that asks for readiness",
        lambda d: at(d, *SINK, *CONTAINER, "livenessProbe", "httpGet").update(path="/readyz"),
        "livenessProbe",
    ),
    (
        "a probe of a port that is none",
        lambda d: at(d, *SINK, *CONTAINER, "startupProbe", "httpGet").update(port="http"),
        "no port",
    ),
    ("no startup probe", lambda d: at(d, *SINK, *CONTAINER).pop("startupProbe"), "has no startupProbe"),
    ("another port", lambda d: at(d, *SINK, *CONTAINER, "ports", 0).update(containerPort=9090), "admin server"),
    ("too little grace", lambda d: at(d, *SINK, *POD).update(terminationGracePeriodSeconds=30), "grace"),
    ("a longer drain", lambda d: at(d, "ConfigMap", "ingestor-s", "data").update(DRAIN_TIMEOUT_SECONDS="1m"), "grace"),
    (
        "too little memory",
        lambda d: at(d, "ConfigMap", "s3-sink-s", "data").update(MEMORY_LIMIT="384MiB"),
        "MEMORY_LIMIT",
    ),
    ("the tag `latest`", lambda d: at(d, *SINK, *CONTAINER).update(image="s3-sink:latest"), "version"),
    ("root", lambda d: at(d, *SINK, *POD, "securityContext").update(runAsNonRoot=False), "not restricted"),
    ("a writable root", lambda d: at(d, *SINK, *CONTAINER).pop("securityContext"), "not restricted"),
    ("no memory limit", lambda d: at(d, "Job", "topics", *CONTAINER).pop("resources"), "memory limit"),
    (
        "a budget for nobody",
        lambda d: at(d, "PodDisruptionBudget", "s3-sink", "spec", "selector", "matchLabels").update(x="y"),
        "selects no pod",
    ),
    ("a Service for nobody", lambda d: at(d, "Service", "s3-sink", "spec", "selector").update(x="y"), "no Service"),
    ("an open namespace", lambda d: d.remove(at(d, "NetworkPolicy", "deny-all")), "denies"),
    ("no way to Kafka", lambda d: d.remove(at(d, "NetworkPolicy", "kafka")), "9096"),
    ("no way to the store", lambda d: d.remove(at(d, "NetworkPolicy", "s3-sink-to-store")), "443"),
    ("no way for Prometheus", lambda d: d.remove(at(d, "NetworkPolicy", "prometheus")), "Prometheus"),
    ("overlapping runs", lambda d: at(d, "CronJob", "ingestor", "spec").update(concurrencyPolicy="Allow"), "two runs"),
    ("no runs", lambda d: d.remove(at(d, "CronJob", "ingestor")), "one must"),
    (
        "more sinks than partitions",
        lambda d: at(d, "ScaledObject", "s3-sink", "spec").update(maxReplicaCount=7),
        "partitions",
    ),
    ("a fixed number of sinks", lambda d: at(d, *SINK, "spec").update(replicas=2), "fixed number"),
    ("another group", lambda d: at(d, "ConfigMap", "s3-sink-s", "data").update(KAFKA_GROUP_ID="x"), "consumerGroup"),
]

# Noticed where promtool is installed.
BREAKAGES_OF_RULES = [
    (
        "a rule that is no PromQL",
        lambda d: at(d, "PrometheusRule", "pipeline", "spec", "groups", 0, "rules", 0).update(expr="time( > 1"),
        "parse error",
    ),
]

# On the manifests with `ingestor serve`.
BREAKAGES_OF_SERVE = [
    ("two ingestors", lambda d: at(d, "Deployment", "ingestor", "spec").update(replicas=2), "two runs"),
    (
        "an ingestor that surges",
        lambda d: at(d, "Deployment", "ingestor", "spec", "strategy").update(type="RollingUpdate"),
        "two runs",
    ),
    ("`run` with a schedule", lambda d: at(d, "Deployment", "ingestor", *CONTAINER).update(args=["run"]), "SCHEDULE"),
]


def main(aws, continuous):
    facts, missed = Facts(), 0
    rules = BREAKAGES_OF_RULES if shutil.which("promtool") else []
    cases = [(aws, *case) for case in BREAKAGES + rules] + [(continuous, *case) for case in BREAKAGES_OF_SERVE]
    docs = {file: list(yaml.safe_load_all(Path(file).read_text())) for file in (aws, continuous)}
    for file, what, break_it, expected in cases:
        broken = copy.deepcopy(docs[file])
        break_it(broken)
        problems = problems_of(broken, facts)
        if not any(expected in problem for problem in problems):
            missed += 1
            print(f"not noticed: {what}; said was: {problems}")
    print(f"check.py: {len(cases) - missed} passed, {missed} failed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
