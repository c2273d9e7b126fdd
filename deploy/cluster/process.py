"""A server as a process of its own, known by a pid file: it outlives the command that started it."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from settings import DATA, HOST, ClusterError

START_SECONDS_MAX, STOP_SECONDS_MAX = 120, 30
POLL_SECONDS = 0.1


class Server:
    """One server. `mark`, an argument of its command line, tells it from a process that got its pid later."""

    def __init__(self, name, ports, mark):
        self.name, self.ports, self.mark = name, ports, mark
        self.log = DATA / f"{name}.log"
        self.pid_file = DATA / f"{name}.pid"

    def pid(self):
        """The pid, or None if it does not run."""
        try:
            pid = int(self.pid_file.read_text())
            command_line = Path(f"/proc/{pid}/cmdline").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return None
        # Empty for a moment while the program is loaded.
        is_it = not command_line or self.mark.encode() in command_line.split(b"\0")
        return pid if is_it and state != "Z" else None

    def launch(self, command, environment=None):
        """Starts it, unless it runs. The log of its last run is kept as NAME.log.1."""
        if self.pid():
            return
        for port in self.ports:
            if listens(port):
                raise ClusterError(
                    f"{self.name}: port {port} is taken by another program; end it, or set CLUSTER_PORT to another base"
                )
        DATA.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        with open(self.log, "wb") as log:
            child = subprocess.Popen(
                command,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid_file.write_text(str(child.pid))

    def wait_ready(self, is_ready):
        deadline = time.monotonic() + START_SECONDS_MAX
        while not is_ready():
            if not self.pid():
                raise ClusterError(f"{self.name} ended at its start:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ClusterError(f"{self.name} is not ready after {START_SECONDS_MAX} s:\n{self.tail()}")
            time.sleep(POLL_SECONDS)

    def signal(self, number):
        if pid := self.pid():
            os.kill(pid, number)

    def wait_gone(self):
        """Waits for its end, and ends it the hard way if it does not come."""
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while pid := self.pid():
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_SECONDS)
        self.pid_file.unlink(missing_ok=True)

    def status(self):
        pid = self.pid()
        if not pid:
            return f"{self.name:<10} down"
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        kib = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        return f"{self.name:<10} pid {pid:<8} {HOST}:{self.ports[0]}  {kib // 1024} MiB"

    def tail(self):
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([*lines[-20:], f"(all of it: {self.log})"])


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
