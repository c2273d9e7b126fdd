#!/usr/bin/env python3
"""Starts the stack of docker-compose.yml and says what runs where. `make up`, `make scale` and `make open` call it.

deploy/stack.py up          creates .env, gets the images, starts all, waits until all is healthy, prints the table
deploy/stack.py scale N     as many sinks
deploy/stack.py status      the table alone; exit code 1 if something is not healthy

Variables: OFFLINE=1 pulls nothing and takes users from demo-api instead of randomuser.me; PROFILES=a,b starts those
profiles of docker-compose.yml too; WAIT_SECONDS is the longest wait, 300 by default. Python's standard library only.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENV = ROOT / ".env"
# The packages that are in the images: .dockerignore lets in a little more, so that the workspace loads.
SOURCES = ["Cargo.toml", "Cargo.lock", "crates", "services", "tools", "deploy/Dockerfile"]
OWN_IMAGES = "names-pipeline/"
# Good to have. The pipeline works without them, so a machine that can't have their images starts the rest.
OPTIONAL = {"grafana", "kafka-ui"}
# End when their work is done.
ONE_SHOTS = {"topics", "bucket", "airflow-init"}
SINK = "s3-sink"
POLL_SECONDS = 1


class StackError(Exception):
    """What went wrong, and what to do about it."""


def main(arguments):
    try:
        match arguments:
            case ["up"]:
                return up()
            case ["scale", count]:
                return scale(count)
            case ["status"]:
                return show(read_state())
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(__doc__, file=sys.stderr)
    return 2


def up():
    check_docker()
    fill_env()
    choose_source()
    os.environ.setdefault("REVISION", revision())
    config = compose_json("config", "--format", "json")["services"]
    left_out = get_images(config)
    wanted = [name for name in config if name not in left_out]
    # Without this, a second `make up` would take the stack back to one sink.
    sinks = max(1, len(containers(SINK)))
    print("stack: starting", flush=True)
    try:
        compose("up", "--detach", "--no-build", "--pull", "never", "--scale", f"{SINK}={sinks}", *wanted)
    except StackError:
        show(read_state(), left_out)
        raise
    return show(wait(read_state), left_out)


def scale(count):
    if not re.fullmatch("[1-9][0-9]*", count):
        raise StackError(f"N={count}: not a number of sinks; try `make scale N=3`")
    compose("up", "--detach", "--no-build", "--no-deps", "--no-recreate", "--scale", f"{SINK}={count}", SINK)
    return show(wait(read_state))


def check_docker():
    if not shutil.which("docker"):
        raise StackError("docker is missing: https://docs.docker.com/engine/install")
    if not succeeds("docker", "compose", "version"):
        raise StackError("the plugin `docker compose` is missing: https://docs.docker.com/compose/install")
    if not succeeds("docker", "info"):
        raise StackError("the Docker engine does not answer: is it started, and may this user reach it?")


def fill_env():
    """Copies .env.example to .env if there is none, and fills each empty value, which is a secret."""
    if uses_no_env():
        return
    if not ENV.exists():
        ENV.touch(mode=0o600)
        ENV.write_text((ROOT / ".env.example").read_text())
        print("stack: created .env with new secrets")
    text = ENV.read_text()
    for name in re.findall("^([A-Z0-9_]+)=$", (ROOT / ".env.example").read_text(), re.MULTILINE):
        if not re.search(f"^{name}=.", text, re.MULTILINE):
            text = set_value(text, name, secrets.token_hex(20))
    ENV.write_text(text)


def choose_source():
    """Profiles, and the API that OFFLINE=1 stands for. Kept in .env, so that `docker compose` alone keeps to them."""
    known = compose_output("config", "--profiles").split()
    profiles = [name for name in os.environ.get("PROFILES", "").split(",") if name]
    for name in profiles:
        if name not in known:
            raise StackError(f"PROFILES={name}: there is no such profile; there are {', '.join(known)}")
    offline = bool(os.environ.get("OFFLINE"))
    chosen = {
        "COMPOSE_PROFILES": ",".join(profiles + ["demo-api"] * offline),
        "OFFLINE_API_URL": "http://demo-api:8080/api/" if offline else "",
        # Airflow starts the runs, every one of them.
        "AIRFLOW_SCHEDULE": "manual" if "airflow" in profiles else "",
        "AIRFLOW_RUN_ON_START": "false" if "airflow" in profiles else "",
    }
    os.environ.update(chosen)
    if not uses_no_env():
        text = ENV.read_text()
        for name, value in chosen.items():
            text = set_value(text, name, value)
        ENV.write_text(text)


def uses_no_env():
    """Docker's own variable for it: all settings come from the environment."""
    return os.environ.get("COMPOSE_DISABLE_ENV_FILE") in ("1", "true")


def set_value(text, name, value):
    """The text of an .env file with `name` set to `value`."""
    line = f"{name}={value}"
    if re.search(f"^{name}=", text, re.MULTILINE):
        return re.sub(f"^{name}=.*$", line, text, flags=re.MULTILINE)
    return f"{text.rstrip()}\n{line}\n"


def revision():
    """The last commit that changed the images, for their labels and metrics; others leave Docker's cache alone."""
    last = run("git", "log", "-1", "--format=%h", "--abbrev=12", "--", *SOURCES)
    changed = run("git", "status", "--porcelain", "--", *SOURCES)
    if last.returncode != 0 or not last.stdout.strip():
        return "unknown"
    return last.stdout.strip() + ("-dirty" if changed.stdout.strip() else "")


def get_images(config):
    """Builds our images and pulls the others. Returns the services that can't be had and may be left out."""
    left_out = {}
    for name, service in config.items():
        image = service["image"]
        if image.startswith(OWN_IMAGES) or succeeds("docker", "image", "inspect", image):
            continue
        if not os.environ.get("OFFLINE") and subprocess.run(["docker", "pull", "--quiet", image]).returncode == 0:
            continue
        why = f"image {image} is not on this machine" + (" (OFFLINE)" if os.environ.get("OFFLINE") else "")
        if name not in OPTIONAL:
            raise StackError(f"{name} can't start: {why}")
        left_out[name] = f"left out: {why}"
    own = {service["image"]: name for name, service in config.items() if service["image"].startswith(OWN_IMAGES)}
    print("stack: building our images (the first time takes some minutes)", flush=True)
    # One after the other: they share all stages but the last, which a builder other than BuildKit would build for each.
    # Airflow's comes last: it takes pipectl out of ours.
    for name in sorted(own.values(), key=lambda name: name.startswith("airflow")):
        build(name)
    return left_out


def build(name):
    """On a terminal one sees what is built; else, only why it failed."""
    if sys.stderr.isatty():
        return compose("build", name)
    found = run("docker", "compose", "build", name)
    if found.returncode != 0:
        raise StackError(f"the image of {name} can't be built:\n{found.stdout}{found.stderr}")


def read_state():
    """(service, containers of it, one word or more on their state, is it as it should be) for each service."""
    by_service = {}
    for container in compose_lines("ps", "--all", "--format", "json"):
        by_service.setdefault(container["Service"], []).append(container)
    rows = []
    for name, found in sorted(by_service.items()):
        states = [state_of(name, container) for container in found]
        words = ", ".join(f"{states.count(word)} {word}" if len(found) > 1 else word for word in sorted(set(states)))
        rows.append((name, found, words, all(word in ("healthy", "done", "running") for word in states)))
    return rows


def state_of(service, container):
    if container["State"] == "exited" and service in ONE_SHOTS and container["ExitCode"] == 0:
        return "done"
    if container["State"] != "running":
        return f"{container['State']} ({container['ExitCode']})"
    return container["Health"] or "running"


def wait(read):
    """Until everything is as it should be, or the time is up."""
    deadline = time.monotonic() + float(os.environ.get("WAIT_SECONDS", "300"))
    while True:
        rows = read()
        if all(good for *_, good in rows) or time.monotonic() > deadline:
            return rows
        time.sleep(POLL_SECONDS)


def show(rows, left_out=None):
    """Prints the table: service, address, state."""
    if not rows:
        raise StackError("nothing runs; `make up` starts it")
    table = [("SERVICE", "URL", "STATE")]
    table += [(name, url(name, found), words) for name, found, words, _ in rows]
    table += [(name, "-", why) for name, why in (left_out or {}).items()]
    widths = [max(len(row[column]) for row in table) for column in range(2)]
    for service, address, state in table:
        print(f"{service:{widths[0]}}  {address:{widths[1]}}  {state}")
    bad = [name for name, *_, good in rows if not good]
    if bad:
        print(f"stack: not healthy: {', '.join(bad)}; see `make logs S={bad[0]}`", file=sys.stderr)
        return 1
    return 0


def url(service, found):
    """Where this machine reaches it."""
    published = {port["PublishedPort"] for container in found for port in container["Publishers"] or []} - {0}
    scheme = "" if re.fullmatch("kafka-[0-9]+", service) else "http://"
    return ", ".join(f"{scheme}localhost:{port}" for port in sorted(published)) or "-"


def containers(service):
    return compose_lines("ps", "--all", "--format", "json", service)


def compose(*arguments):
    """Runs `docker compose`, its output on the terminal; without a terminal its errors alone."""
    progress = "auto" if sys.stderr.isatty() else "quiet"
    if subprocess.run(["docker", "compose", "--progress", progress, *arguments], cwd=ROOT).returncode != 0:
        raise StackError(f"`docker compose {arguments[0]}` failed, see above")


def compose_json(*arguments):
    return json.loads(compose_output(*arguments))


def compose_lines(*arguments):
    return [json.loads(line) for line in compose_output(*arguments).splitlines() if line.strip()]


def compose_output(*arguments):
    found = run("docker", "compose", *arguments)
    if found.returncode != 0:
        raise StackError(f"`docker compose {arguments[0]}` failed: {found.stderr.strip()}")
    return found.stdout


def succeeds(*command):
    return run(*command).returncode == 0


def run(*command):
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
