"""Runs one command and measures its whole process tree, whatever becomes of the processes in between."""

import ctypes
import dataclasses
import os
import resource
import signal
import subprocess
import time

SAMPLE_SECONDS = 0.1
# For what a command has started to end after it: a JVM takes a moment.
LINGER_SECONDS_MAX = 30
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PR_SET_CHILD_SUBREAPER = 36


@dataclasses.dataclass
class Usage:
    """What a command took. `peak_rss_bytes` is the largest sum over the tree that a sample has seen; pages that several
    processes share count for each."""

    status: int
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int


def measure(command, environment, folder, log, seconds_max):
    """Runs `command` in `folder` with its output in `log`, and waits for the end of it and of all that it started.
    Kills all of it after `seconds_max`. Call it while this process has no other children."""
    adopt_orphans()
    before = cpu_of_ended_children()
    started = time.monotonic()
    with open(log, "wb") as output:
        child = subprocess.Popen(
            command, env=environment, cwd=folder,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )
    peak, deadline = 0, started + seconds_max
    ended = None
    try:
        while reap(child):
            tree = descendants(os.getpid())
            peak = max(peak, sum(tree.values()))
            now = time.monotonic()
            if child.returncode is not None and ended is None:
                ended, deadline = now, now + LINGER_SECONDS_MAX
            if now > deadline:
                kill(tree)
            time.sleep(SAMPLE_SECONDS)
    finally:
        kill(descendants(os.getpid()))
    seconds = (ended or time.monotonic()) - started
    return Usage(child.returncode, seconds, cpu_of_ended_children() - before, peak)


def adopt_orphans():
    """Makes this process the parent of descendants whose parent ends, so that their CPU time is counted here too."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this process can't adopt the orphans of a command (prctl)")


def cpu_of_ended_children():
    """Of the children that were waited for, and of theirs: exact, where samples would miss the last moments."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def reap(child):
    """Waits for all that have ended, and keeps the exit code of `child`. Returns whether any still run."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)


def descendants(ancestor):
    """The resident bytes of every process below `ancestor`, by pid."""
    children, resident = {}, {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                # The name before it may hold blanks and brackets.
                fields = stat.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(entry))
        resident[int(entry)] = int(fields[21]) * PAGE_BYTES
    found, waiting = {}, list(children.get(ancestor, []))
    while waiting:
        pid = waiting.pop()
        found[pid] = resident[pid]
        waiting += children.get(pid, [])
    return found


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
