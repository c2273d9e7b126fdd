#!/usr/bin/env python3
"""Checks the run API of the real `ingestor serve` against its OpenAPI document, with schemathesis.

    contract.py BINARIES FOLDER

BINARIES holds `ingestor` and `local-stack`; logs and reports go to FOLDER. Everything listens on free
ports of 127.0.0.1. Two passes: without a token, and with one. The exit code is 0 if schemathesis has
no finding and the ingestor drains well. CONTRACT_SEED repeats the requests of an earlier pass.
"""

import json
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

PATIENCE_SECONDS = 60
EXAMPLES = "250"
CONFIG = pathlib.Path(__file__).with_name("contract.toml")


class Process:
    """A binary whose output is one file, ended by SIGTERM."""

    def __init__(self, binary, arguments, log, environment):
        self.log = log
        with log.open("wb") as output:
            self.child = subprocess.Popen(
                [binary, *arguments], stdout=output, stderr=subprocess.STDOUT, env=environment
            )

    def line(self, mark):
        """Waits for the first line with `mark`."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines():
                if mark in line:
                    return line
            if self.child.poll() is not None:
                break
            time.sleep(0.1)
        sys.exit(f"contract: no {mark!r} in {self.log}:\n{self.log.read_text()}")

    def terminate(self):
        """Asks it to end, and returns its exit code."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        return self.child.wait(PATIENCE_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


def stack_environment(data):
    """The variables of the stack's file of exports."""
    exports = (line.removeprefix("export ") for line in (data / "env").read_text().splitlines())
    pairs = (line.split("=", 1) for line in exports if "=" in line and not line.startswith("#"))
    return {name: value.strip("'\"") for name, value in pairs}


def check(label, binaries, folder, environment, token):
    """One pass. Returns whether it had no finding."""
    settings = environment | {
        "ADMIN_ADDR": "127.0.0.1:0",
        "SCHEDULE": "manual",
        # The embedded cluster makes a topic when it is asked for one.
        "KAFKA_CONFIG": "allow.auto.create.topics=true",
    }
    headers = []
    if token:
        settings["ADMIN_TOKEN"] = token
        headers = ["--header", f"Authorization: Bearer {token}"]
    log = folder / f"ingestor-{label}.log"
    with Process(binaries / "ingestor", ["serve"], log, settings) as ingestor:
        address = json.loads(ingestor.line("admin server listens"))["addr"]
        ingestor.line("run history is read and kept")
        seed = os.environ.get("CONTRACT_SEED", str(secrets.randbelow(2**32)))
        command = [
            pathlib.Path(sys.executable).with_name("st"),
            f"--config-file={CONFIG}", "run", f"http://{address}/openapi.json",
            "--seed", seed, "--max-examples", EXAMPLES, "--no-color",
            "--report", "ndjson,junit", "--report-dir", folder / label, *headers,
        ]
        print(f"=== {label}: CONTRACT_SEED={seed}", flush=True)
        # It leaves notes of its own where it runs.
        findings = subprocess.run(command, env=environment, cwd=folder).returncode
        answers = count_runs(address)
        code = ingestor.terminate()
    print(f"=== {label}: schemathesis {findings}, ingestor {code}, runs {answers}", flush=True)
    return findings == 0 and code == 0


def count_runs(address):
    """How many runs the pass has begun, by state: a pass that begins none checks little."""
    with urllib.request.urlopen(f"http://{address}/runs?limit=1000") as answer:
        runs = json.load(answer)["runs"]
    states = [run["state"] for run in runs]
    if not {"succeeded", "cancelled"} & set(states):
        sys.exit(f"contract: no run of the pass got anywhere: {states}")
    return {state: states.count(state) for state in sorted(set(states))}


def main():
    binaries, folder = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Settings and credentials of the machine must not leak into the test.
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    data = folder / "stack"
    arguments = ["up", "--data", str(data), "--partitions", "1"]
    with Process(binaries / "local-stack", arguments, folder / "stack.log", base) as stack:
        stack.line("ready")
        environment = base | stack_environment(data)
        token = secrets.token_hex(16)
        passes = [
            check("open", binaries, folder, environment, None),
            check("token", binaries, folder, environment, token),
        ]
        stack.terminate()
    if not all(passes):
        sys.exit(1)


if __name__ == "__main__":
    main()
