"""Asks `pipectl audit` whether everything on the topic is stored exactly once.

Knows nothing of Airflow. `pipectl` reads its settings from the environment. Python's standard library only.
"""

import json
import logging
import subprocess
import time

PAUSE_SECONDS = 2
# One audit lists every chunk and reads the dead-letter topic.
AUDIT_SECONDS_MAX = 600

log = logging.getLogger(__name__)


class Findings(Exception):
    """The audit found something."""


class NotStored(Exception):
    """The sinks did not store everything in time."""


class NotAudited(Exception):
    """The audit could not be made."""


def audit(command, delivered, wait_seconds_max):
    """Returns the audit's totals once everything is stored and nothing is wrong.

    `command` is how to call pipectl. The sinks get `wait_seconds_max` to store what is on the topic. `delivered` is how
    many messages are there at least: an audit that sees fewer looks at the wrong place.
    """
    deadline = time.monotonic() + wait_seconds_max
    while True:
        started = time.monotonic()
        report = run(command)
        findings = report["findings"]
        if not findings:
            break
        if any(finding["check"] != "lag" for finding in findings):
            raise Findings(tell(findings))
        if time.monotonic() >= deadline:
            raise NotStored(f"not everything is stored after {wait_seconds_max:g} s: {tell(findings)}")
        log.info("%s messages wait for the sinks", report["totals"]["lag"])
        # At most half of the time is spent on audits, however long one takes.
        time.sleep(max(PAUSE_SECONDS, time.monotonic() - started))
    totals = report["totals"]
    seen = totals["rows"] + totals["rejected"]
    if seen < delivered:
        raise Findings(
            f"the audit sees {seen} messages of the topic {report['topic']}, fewer than the {delivered} that this run "
            f"alone has delivered: do KAFKA_TOPIC, S3_BUCKET and S3_PREFIX agree with the ingestor's and the sinks'?"
        )
    return totals


def run(command):
    """The report of one audit."""
    arguments = [*command, "audit", "--json", "--expect-drained"]
    try:
        ended = subprocess.run(arguments, capture_output=True, text=True, timeout=AUDIT_SECONDS_MAX)
    except FileNotFoundError:
        raise NotAudited(f"{command[0]} is not there: set PIPECTL to the path of pipectl") from None
    except subprocess.TimeoutExpired:
        raise NotAudited(f"the audit has not ended within {AUDIT_SECONDS_MAX} s") from None
    for line in ended.stderr.splitlines():
        log.warning("pipectl: %s", line)
    if ended.returncode not in (0, 1):
        raise NotAudited(f"pipectl ended with exit code {ended.returncode}: {ended.stderr.strip()}")
    report = json.loads(ended.stdout)
    if (ended.returncode == 0) != (not report["findings"]):
        raise NotAudited(f"pipectl ended with exit code {ended.returncode} and {len(report['findings'])} findings")
    return report


def tell(findings):
    """Logs each finding, and returns all of them in one line."""
    told = []
    for finding in findings:
        partition = "" if finding["partition"] is None else f" in partition {finding['partition']}"
        told.append(f"{finding['check']}{partition}: {finding['message']}")
        log.error("finding: %s", told[-1])
    return f"{len(told)} findings: " + "; ".join(told)
