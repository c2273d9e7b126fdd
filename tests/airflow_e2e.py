#!/usr/bin/env python3
"""`make test-airflow`: the DAG of deploy/airflow, run by a real Airflow against the embedded stack and real binaries.

Airflow's scheduler, DAG processor and API server run with deploy/airflow/airflow.cfg and SQLite; what they are told
goes through Airflow's own REST API, as a user's browser would. Everything listens on free ports of 127.0.0.1. Files and
logs stay in target/airflow. Needs the binaries of `make build` (BIN_DIR, target/debug by default) and the packages of
tests/airflow-requirements.txt beside the Python that runs this.

usage: airflow_e2e.py [SCENARIO...]   each one by the name of its function; all of them unless told otherwise
"""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

from airflow_world import (
    AIRFLOW,
    AUDIT,
    BEGAN,
    BIN,
    DAG,
    DEPLOY,
    HOME,
    STREAM,
    TOKEN,
    UNAVAILABLE_SECONDS_MAX,
    Processes,
    World,
    equal,
    eventually,
    expect,
)

BINARIES = ["local-stack", "ingestor", "s3-sink", "pipectl"]


def main():
    known = {scenario.__name__: scenario for scenario in SCENARIOS}
    unknown = [f"there is no scenario {name}" for name in sys.argv[1:] if name not in known]
    missing = what_is_missing() or next(iter(unknown), None)
    if missing:
        print(f"test-airflow: {missing}", file=sys.stderr)
        return 1
    scenarios = [known[name] for name in sys.argv[1:]] or SCENARIOS
    processes = Processes()
    try:
        print_versions()
        step("the embedded stack, an ingestor, a sink and Airflow start")
        world = World(processes)
        for scenario in scenarios:
            step(scenario.__doc__)
            scenario(world)
    except Exception as error:  # whatever it was, nothing is left running
        print(f"test-airflow: FAILED: {error}; logs in {HOME}", file=sys.stderr)
        if not isinstance(error, AssertionError):
            raise
        return 1
    finally:
        processes.end()
    print(f"test-airflow: {len(scenarios)} scenarios passed in {time.monotonic() - STARTED:.0f} s")
    return 0


# What is tested, in this order. Later ones look at what earlier ones have left.


def schedule(world):
    """the DAG is loaded with the tutorial's settings"""
    eventually("the next tick is known", lambda: world.next_tick() > BEGAN)
    dag = world.airflow("GET", f"/dags/{DAG}/details")
    equal(dag["timetable_summary"], "0 1 * * *", "schedule")
    equal(datetime.fromisoformat(dag["start_date"]), datetime(2018, 12, 21, tzinfo=timezone.utc), "start date")
    equal((dag["catchup"], dag["max_active_runs"], dag["owners"]), (False, 1, ["airflow"]), "catchup, active runs, owners")
    equal((dag["is_paused"], dag["timezone"]), (False, "UTC"), "paused, time zone")
    next_tick = world.next_tick()
    equal((next_tick.hour, next_tick.minute, next_tick.second), (1, 0, 0), "time of the next tick")
    expect(next_tick - BEGAN <= timedelta(days=2), f"the next tick is {next_tick}")
    tasks = {task["task_id"]: task for task in world.airflow("GET", f"/dags/{DAG}/tasks")["tasks"]}
    equal(sorted(tasks), [AUDIT, STREAM], "tasks")
    equal(tasks[STREAM]["downstream_task_ids"], [AUDIT], "what follows the stream")
    for name, task in tasks.items():
        equal((task["owner"], task["retries"], task["retry_delay"]["seconds"]), ("airflow", 1, 5), f"owner and retries of {name}")
    print(f"  next tick {next_tick:%Y-%m-%d %H:%M} UTC")


def success(world):
    """the last missed tick is made up for, and no other one: rows on S3, audited"""
    [dag_run] = world.missed_ticks()
    world.ends(dag_run, "success")
    equal(world.tries(dag_run), {STREAM: 1, AUDIT: 1}, "tries")
    [run] = world.runs_of(dag_run)
    equal((run["idempotency_key"], run["state"], run["trigger"]), (f"{dag_run}/1", "succeeded", "api"), "the run")
    shown = world.xcom(dag_run, STREAM)
    equal((shown["id"], shown["counts"]), (run["id"], run["counts"]), "what Airflow shows of the run")
    expect(run["id"] in world.log(dag_run, STREAM), "the run's id is not in the task's log")
    totals = world.xcom(dag_run, AUDIT)
    equal((totals["rows"], totals["lost"], totals["duplicated"]), (run["counts"]["delivered"], 0, 0), "what the audit found")
    objects = world.objects()
    equal(len(objects), totals["chunks"], "objects in the bucket")
    print(f"  run {run['id']}: {totals['rows']} rows in {len(objects)} objects")


def cleared(world):
    """a task that is cleared after its success begins another run"""
    [dag_run] = world.missed_ticks()
    world.airflow("POST", f"/dags/{DAG}/clearTaskInstances", {
        "dry_run": False, "dag_run_id": dag_run, "task_ids": [STREAM], "include_downstream": True, "only_failed": False,
    })
    world.ends(dag_run, "success", tries={STREAM: 2, AUDIT: 2})
    equal(world.history(dag_run), [("/1", "succeeded"), ("/2", "succeeded")], "runs")


def failure(world):
    """a run that fails is told with its error, and repeated by Airflow"""
    world.control("POST", "/faults", {"part": "api", "times": 1, "action": {"kind": "server_error"}})
    dag_run = world.trigger()
    world.ends(dag_run, "success")
    equal(world.tries(dag_run), {STREAM: 2, AUDIT: 1}, "tries")
    equal(world.history(dag_run), [("/1", "failed"), ("/2", "succeeded")], "runs")
    failed = world.runs_of(dag_run)[0]
    told = f"run {failed['id']} failed: {failed['last_error']}"
    expect(told in world.log(dag_run, STREAM), f"the log of the first try does not say: {told}")
    print(f"  {told}")


def two_at_once(world):
    """two triggers at once, beside a run of somebody else: one at a time, all end well"""
    other = world.ingestor.ask("POST", "/runs", {"streaming_seconds": 6})
    dag_runs = [world.trigger(), world.trigger()]
    for dag_run in dag_runs:
        world.ends(dag_run, "success")
        equal(world.history(dag_run), [("/1", "succeeded")], "runs")
    expect(f"the ingestor is busy: run {other['id']}" in world.log(dag_runs[0], STREAM), "the first one did not wait")
    began, ended = zip(*sorted(world.times(dag_run) for dag_run in dag_runs))
    expect(ended[0] <= began[1], f"both DAG runs were active at once: {began}, {ended}")


def restart(world):
    """the ingestor is killed in the middle of a run and started again: the try fails, the next one succeeds"""
    dag_run = world.trigger(streaming_seconds=6)
    world.streams(dag_run)
    world.ingestor.kill()
    world.ingestor.start()
    world.ends(dag_run, "success")
    equal(world.tries(dag_run), {STREAM: 2, AUDIT: 1}, "tries")
    equal(world.history(dag_run), [("/1", "failed"), ("/2", "succeeded")], "runs")
    failed = world.runs_of(dag_run)[0]
    expect(f"run {failed['id']} failed: the ingestor ended during the run" in world.log(dag_run, STREAM), "its end is not told")


def task_dies(world):
    """the task's process dies (kill -9) while its run goes on: the next try finds the same run"""
    dag_run = world.trigger(streaming_seconds=8)
    world.streams(dag_run)
    os.kill(int(world.task(dag_run, STREAM)["pid"]), signal.SIGKILL)
    world.ends(dag_run, "success")
    equal(world.tries(dag_run), {STREAM: 2, AUDIT: 1}, "tries")
    equal(world.history(dag_run), [("/1", "succeeded")], "runs")


def lost_connection(world):
    """the ingestor does not answer for long: the try fails, the next one finds the same run"""
    dag_run = world.trigger(streaming_seconds=8)
    world.streams(dag_run)
    world.ingestor.signal(signal.SIGSTOP)
    world.task_is(dag_run, STREAM, "up_for_retry")
    world.ingestor.signal(signal.SIGCONT)
    world.ends(dag_run, "success")
    equal(world.tries(dag_run), {STREAM: 2, AUDIT: 1}, "tries")
    equal(world.history(dag_run), [("/1", "succeeded")], "runs")
    expect(f"gave up after {UNAVAILABLE_SECONDS_MAX} s" in world.log(dag_run, STREAM), "the silence is not told")


def wrong_token(world):
    """the ingestor wants another token: the task fails at once and says what to do"""
    world.ingestor.stop()
    world.ingestor.start(token=secrets.token_hex(20))
    dag_run = world.trigger()
    world.ends(dag_run, "failed")
    equal(world.tries(dag_run), {STREAM: 1, AUDIT: 0}, "tries")
    log = world.log(dag_run, STREAM)
    expect("the connection's password must be the ingestor's ADMIN_TOKEN" in log, "the remedy is not told")
    expect(TOKEN not in log, "the token is in the log")
    world.ingestor.stop()
    world.ingestor.start()
    equal(world.history(dag_run), [], "runs")


def killed(world):
    """a task that takes too long, or is ended by hand, cancels its run"""
    dag_run = world.trigger(streaming_seconds=600)
    world.streams(dag_run)
    world.run_is(f"{dag_run}/1", "cancelled")
    expect("Process timed out" in world.log(dag_run, STREAM), "the first run did not end by the task's timeout")
    world.run_is(f"{dag_run}/2", "running")
    world.airflow("PATCH", f"/dags/{DAG}/dagRuns/{dag_run}/taskInstances/{STREAM}", {"new_state": "failed"})
    world.run_is(f"{dag_run}/2", "cancelled")
    world.ends(dag_run, "failed")
    equal(world.history(dag_run), [("/1", "cancelled"), ("/2", "cancelled")], "runs")


def finding(world):
    """an object is lost: the audit fails at once and tells"""
    lost = world.objects()[0]
    lost.unlink()
    dag_run = world.trigger()
    world.ends(dag_run, "failed")
    equal(world.tries(dag_run), {STREAM: 1, AUDIT: 1}, "tries")
    told = re.search(r"finding: (L1 in partition \d+: [^\"\n]*) ", world.log(dag_run, AUDIT))
    expect(told, "the audit's log has no finding L1")
    print(f"  {told[1]}")


def never_two(world):
    """over all of this, the ingestor has never made two runs at once"""
    runs = sorted(world.ingestor.ask("GET", "/runs?limit=1000")["runs"], key=lambda run: run["id"])
    for earlier, later in zip(runs, runs[1:]):
        times = [datetime.fromisoformat(text) for text in (earlier["ended_at"], later["started_at"] or later["created_at"])]
        expect(times[0] <= times[1], f"the runs {earlier['id']} and {later['id']} overlap")
    errors = world.airflow("GET", "/importErrors")["import_errors"]
    equal(errors, [], "import errors")
    print(f"  {len(runs)} runs, one after the other")


SCENARIOS = [
    schedule,
    success,
    cleared,
    failure,
    two_at_once,
    restart,
    task_dies,
    lost_connection,
    wrong_token,
    killed,
    finding,
    never_two,
]


def what_is_missing():
    """One line, or nothing."""
    if sys.version_info < (3, 11):
        return f"Python 3.11 or later is needed; this is {sys.version.split()[0]}"
    for name in BINARIES:
        if not (BIN / name).exists():
            return f"{BIN / name} is missing: run `make build` first, or set BIN_DIR"
    if not AIRFLOW.exists():
        return f"{AIRFLOW} is missing: run `make test-airflow`, which installs it"
    return None


def print_versions():
    airflow = output(AIRFLOW, "version").splitlines()[-1]
    binaries = ", ".join(output(BIN / name, "--version") for name in BINARIES)
    print(f"Airflow {airflow} on Python {sys.version.split()[0]}, {binaries}")
    image = re.search(r"^FROM apache/airflow:(\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    equal(airflow, image[1], "version of Airflow; deploy/airflow/Dockerfile has another one")


def output(*command):
    found = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"AIRFLOW_HOME": str(HOME)})
    expect(found.returncode == 0, f"`{command[0]} {command[1]}` ended with exit code {found.returncode}: {found.stderr}")
    return found.stdout.strip()


def step(title):
    print(f"== {title} ({time.monotonic() - STARTED:.0f} s)", flush=True)


STARTED = time.monotonic()
if __name__ == "__main__":
    sys.exit(main())
