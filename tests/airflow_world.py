"""The parts that tests/airflow_e2e.py tests with: the embedded stack, an ingestor, a sink, and a real Airflow."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
BIN = Path(os.environ.get("BIN_DIR", TARGET / "debug")).resolve()
HOME = TARGET / "airflow"
DEPLOY = ROOT / "deploy" / "airflow"
AIRFLOW = Path(sys.executable).parent / "airflow"

DAG = "name_stream_dag"
STREAM, AUDIT = "stream_to_kafka_task", "audit_task"
WAIT_SECONDS = 120
END_SECONDS_MAX = 15
# Longer than any run of a scenario but the one that meets it.
STREAM_TIMEOUT_SECONDS = 30
UNAVAILABLE_SECONDS_MAX = 8
TOKEN = secrets.token_hex(20)
BEGAN = datetime.now(timezone.utc)


class World:
    """The embedded stack, the ingestor, a sink and Airflow; and what they can be asked."""

    def __init__(self, processes):
        shutil.rmtree(HOME, ignore_errors=True)
        HOME.mkdir(parents=True)
        self._stack = HOME / "stack"
        processes.start("local-stack", [BIN / "local-stack", "up", "--data", self._stack], os.environ)
        eventually("the stack is ready", lambda: (self._stack / "env").exists())
        stack = read_exports(self._stack / "env")
        self._control = stack["LOCAL_STACK_CONTROL_URL"]
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ} | stack
        ingestor_port, sink_port, self._port, health_port = free_ports(4)
        self.ingestor = Ingestor(processes, environment, ingestor_port)
        self.ingestor.start()
        processes.start("s3-sink", [BIN / "s3-sink", "run"], environment | {
            "ADMIN_ADDR": f"127.0.0.1:{sink_port}", "CHUNK_AGE_SECONDS_MAX": "1", "KAFKA_CONFIG": "session.timeout.ms=6000",
        })
        password = secrets.token_hex(20)
        (HOME / "passwords.json").write_text(json.dumps({"admin": password}))
        airflow = environment | {
            "AIRFLOW_HOME": HOME,
            "AIRFLOW_CONFIG": DEPLOY / "airflow.cfg",
            # SQLite lets one write at a time; the others wait so long, in seconds, before they give up.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db?timeout=60",
            "AIRFLOW__CORE__DAGS_FOLDER": DEPLOY / "dags",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": HOME / "passwords.json",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self._port}/execution/",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": self._port,
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(20),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(20),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": health_port,
            # Otherwise a task notices late that it was ended by hand.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            # This machine may be busy.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
            "AIRFLOW_CONN_INGESTOR": f"http://:{TOKEN}@127.0.0.1:{ingestor_port}",
            "AIRFLOW_VAR_INGESTOR_UNAVAILABLE_SECONDS_MAX": UNAVAILABLE_SECONDS_MAX,
            "STREAM_TIMEOUT_SECONDS": STREAM_TIMEOUT_SECONDS,
            "PIPECTL": BIN / "pipectl",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with open(HOME / "migrate.log", "w") as log:
            migrated = subprocess.run([AIRFLOW, "db", "migrate"], env=texts(airflow), stdout=log, stderr=log)
        equal(migrated.returncode, 0, "exit code of `airflow db migrate`")
        self._token = None
        processes.start("api-server", [AIRFLOW, "api-server"], airflow)
        # Tasks talk to it, and fail without it.
        eventually("Airflow's API server is ready", lambda: self._login(password))
        # Logs are files on this machine: nobody has to serve them.
        processes.start("scheduler", [AIRFLOW, "scheduler", "--skip-serve-logs"], airflow)
        processes.start("dag-processor", [AIRFLOW, "dag-processor"], airflow)
        eventually("Airflow has loaded the DAG", self._has_dag)
        # The scheduler makes up for the last tick, before anything else.
        eventually("the missed tick is seen", self.missed_ticks)

    def _login(self, password):
        try:
            answer = ask("POST", f"http://127.0.0.1:{self._port}/auth/token", {"username": "admin", "password": password})
        except OSError:
            return False
        self._token = answer["access_token"]
        return True

    def _has_dag(self):
        health = self.airflow("GET", "/monitor/health")
        errors = self.airflow("GET", "/importErrors")["import_errors"]
        expect(not errors, f"the DAG can't be loaded: {errors}")
        return all(health[part]["status"] == "healthy" for part in ("scheduler", "dag_processor")) and any(
            dag["dag_id"] == DAG for dag in self.airflow("GET", "/dags")["dags"]
        )

    def airflow(self, method, path, body=None):
        """Airflow's REST API. A write that fails since others write to SQLite as well is repeated: nothing of it is kept."""
        found = []

        def is_answered():
            try:
                found.append(ask(method, f"http://127.0.0.1:{self._port}/api/v2{path}", body, self._token))
            except OSError as error:
                if "Database error" not in str(error):
                    raise
            return bool(found)

        eventually(f"Airflow answers {method} {path}", is_answered)
        return found[0]

    def control(self, method, path, body):
        """The embedded stack's control endpoint."""
        return ask(method, self._control + path, body)

    def trigger(self, **parameters):
        """Starts a DAG run and returns its id."""
        return self.airflow("POST", f"/dags/{DAG}/dagRuns", {"logical_date": None, "conf": parameters})["dag_run_id"]

    def next_tick(self):
        return datetime.fromisoformat(self.airflow("GET", f"/dags/{DAG}/details")["next_dagrun_run_after"])

    def missed_ticks(self):
        """The ids of the DAG runs that are there for ticks before this test."""
        found = self.airflow("GET", f"/dags/{DAG}/dagRuns?run_type=scheduled")["dag_runs"]
        return [one["dag_run_id"] for one in found if datetime.fromisoformat(one["logical_date"]) < BEGAN]

    def ends(self, dag_run, state, tries=None):
        """Waits for the end of a DAG run, and of so many tries; it has to end so."""

        def has_ended():
            found = self.airflow("GET", f"/dags/{DAG}/dagRuns/{dag_run}")["state"]
            if found not in ("success", "failed") or (tries and self.tries(dag_run) != tries):
                return False
            equal(found, state, f"state of {dag_run}")
            return True

        eventually(f"{dag_run} ends", has_ended)

    def task(self, dag_run, task):
        return self.airflow("GET", f"/dags/{DAG}/dagRuns/{dag_run}/taskInstances/{task}")

    def task_is(self, dag_run, task, state):
        eventually(f"{task} is {state}", lambda: self.task(dag_run, task)["state"] == state)

    def run_is(self, key, state):
        def is_so():
            return any(run["idempotency_key"] == key and run["state"] == state for run in self.ingestor.runs())

        eventually(f"the run {key.rpartition('/')[2]} is {state}", is_so)

    def streams(self, dag_run):
        """Waits until the first run of a DAG run has delivered something."""
        eventually("the run streams", lambda: any(run["counts"]["delivered"] for run in self.runs_of(dag_run)))

    def runs_of(self, dag_run):
        """The ingestor's runs for a DAG run, the oldest first."""
        found = [run for run in self.ingestor.runs() if (run["idempotency_key"] or "").rpartition("/")[0] == dag_run]
        return sorted(found, key=lambda run: run["id"])

    def history(self, dag_run):
        """What the ingestor's runs for a DAG run have in place of its id in their key, and their states."""
        return [(run["idempotency_key"].removeprefix(dag_run), run["state"]) for run in self.runs_of(dag_run)]

    def tries(self, dag_run):
        found = self.airflow("GET", f"/dags/{DAG}/dagRuns/{dag_run}/taskInstances")["task_instances"]
        return {task["task_id"]: task["try_number"] for task in found}

    def times(self, dag_run):
        found = self.airflow("GET", f"/dags/{DAG}/dagRuns/{dag_run}")
        return found["start_date"], found["end_date"]

    def xcom(self, dag_run, task):
        path = f"/dags/{DAG}/dagRuns/{dag_run}/taskInstances/{task}/xcomEntries/return_value?deserialize=true"
        return self.airflow("GET", path)["value"]

    def log(self, dag_run, task):
        """What the first try has logged, as Airflow's web page shows it."""
        path = f"/dags/{DAG}/dagRuns/{dag_run}/taskInstances/{task}/logs/1?full_content=true"
        content = self.airflow("GET", path)["content"]
        return "\n".join(f"{line['event']} {json.dumps(line.get('error_detail') or '')}" for line in content)

    def objects(self):
        return sorted((self._stack / "s3" / "names").glob("**/*.parquet"))


class Ingestor:
    """`ingestor serve`, with requests that fail at the first failure, and runs of two seconds."""

    def __init__(self, processes, environment, port):
        self._processes = processes
        self._url = f"http://127.0.0.1:{port}"
        self._environment = environment | {
            "ADMIN_ADDR": f"127.0.0.1:{port}",
            "SCHEDULE": "manual",
            "API_RESULTS": "20",
            "API_RETRIES_MAX": "0",
            "PAUSE_SECONDS": "0.5",
            "STREAMING_SECONDS": "2",
        }

    def start(self, token=TOKEN):
        self._process = self._processes.start("ingestor", [BIN / "ingestor", "serve"], self._environment | {"ADMIN_TOKEN": token})
        eventually("the ingestor is ready", self._is_ready)

    def _is_ready(self):
        try:
            return self.ask("GET", "/readyz")["ready"] and "runs" in self.ask("GET", "/runs")
        except OSError:
            return False

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def stop(self):
        self._process.terminate()
        equal(self._process.wait(WAIT_SECONDS), 0, "exit code of the ingestor")

    def runs(self):
        return self.ask("GET", "/runs?limit=1000")["runs"]

    def ask(self, method, path, body=None):
        return ask(method, self._url + path, body, TOKEN)


class Processes:
    """Starts processes, each with a log and a process group of its own, and ends all of them."""

    def __init__(self):
        self._started = []

    def start(self, name, command, environment):
        with open(HOME / f"{name}.log", "a") as log:
            process = subprocess.Popen(
                [str(part) for part in command], env=texts(environment), cwd=HOME, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )
        self._started.append(process)
        return process

    def end(self):
        """The last one first: Airflow's parts, then what they use. What does not go is killed with its children."""
        for process in reversed(self._started):
            for number in (signal.SIGCONT, signal.SIGTERM):
                if process.poll() is None:
                    process.send_signal(number)
            try:
                process.wait(END_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                print(f"test-airflow: {process.args[0]} did not end within {END_SECONDS_MAX} s", file=sys.stderr)
            try:
                # The group may outlive its leader.
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def ask(method, url, body=None, token=None):
    """The JSON that is answered. A refusal shows what was answered."""
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=30) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise OSError(f"{method} {url} answers {error.code}: {error.read().decode()}") from None
    return json.loads(text) if text else None


def read_exports(path):
    """What a file of `export NAME='value'` says."""
    found = re.findall(r"^export (\w+)='(.*)'$", path.read_text(), re.MULTILINE)
    return dict(found)


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def texts(environment):
    return {name: str(value) for name, value in environment.items()}


def eventually(what, condition):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        expect(time.monotonic() < deadline, f"after {WAIT_SECONDS} s it is not true that {what}")
        time.sleep(0.2)


def equal(found, wanted, what):
    expect(found == wanted, f"{what}: {found} where {wanted} is expected")


def expect(condition, otherwise):
    if not condition:
        raise AssertionError(otherwise)
