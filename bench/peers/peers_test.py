"""Tests of what measures and judges the peers; `make bench-peers` runs them before it runs anything."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import pyarrow
from pyarrow import dataset

import table
from judge import FIELDS, NOTHING, Verdict, count
from measure import descendants, measure

HELD_BYTES = 64 << 20
BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"
# A child that outlives its parent, as a JVM does that a script has started.
ORPHAN = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {script!r}])\n"


class Measure(unittest.TestCase):
    def run_python(self, script, seconds_max=60):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", script]
            return measure(command, dict(os.environ), folder, Path(folder) / "log", seconds_max)

    def test_cpu_of_a_child_that_was_waited_for_is_counted(self):
        script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN.format(seconds=0.5)!r}])\n"
        self.assertGreaterEqual(self.run_python(script).cpu_seconds, 0.5)

    def test_cpu_of_an_orphan_is_counted(self):
        self.assertGreaterEqual(self.run_python(ORPHAN.format(script=BURN.format(seconds=0.5))).cpu_seconds, 0.5)

    def test_cpu_of_an_earlier_command_is_not_counted(self):
        self.run_python(BURN.format(seconds=1))
        self.assertLess(self.run_python("").cpu_seconds, 1)

    def test_all_descendants_are_found_with_their_memory(self):
        hold = f"held = b'x' * {HELD_BYTES}\n"
        child = hold + "print('held', flush=True)\ninput()\n"
        parent = hold + f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])\n"
        command = [sys.executable, "-c", parent]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            found = descendants(os.getpid())
            process.communicate("leave\n")
        self.assertIn(process.pid, found)
        self.assertEqual([held >= HELD_BYTES for held in found.values()], [True, True])

    def test_a_failure_is_told(self):
        self.assertEqual(self.run_python("raise SystemExit(3)").status, 3)

    def test_a_command_without_end_is_killed_with_its_children(self):
        forever = "import time\nwhile True: time.sleep(1)\n"
        usage = self.run_python(ORPHAN.format(script=forever) + forever, seconds_max=0.5)
        self.assertEqual(usage.status, -9)


class Judge(unittest.TestCase):
    def flaws(self, rows, messages=3, **changes):
        """What is found wrong with these rows, numbered, where rows 0, 1 and 2 are right."""
        return verdict(rows, messages, **changes).flaws(verdict([0, 1, 2], 3))

    def test_every_message_once_is_right_in_any_order(self):
        self.assertEqual(self.flaws([2, 0, 1]), "")

    def test_lost_and_duplicated_are_told_apart(self):
        self.assertEqual(self.flaws([0, 1]), "1 lost")
        self.assertEqual(self.flaws([0, 1, 2, 2]), "1 duplicated")
        self.assertEqual(self.flaws([0, 1, 1]), "1 lost, 1 duplicated")

    def test_nothing_at_all_is_lost(self):
        self.assertEqual(Verdict(0, 0, **count(NOTHING, 3)).flaws(verdict([0, 1, 2], 3)), "3 lost")

    def test_a_null_and_a_rounded_zip_are_seen(self):
        self.assertEqual(self.flaws([0, 1, 2], nation=None), "3 with NULL or a wrong zip")
        self.assertEqual(self.flaws([0, 1, 2], zip="1.2345e38"), "3 with NULL or a wrong zip")

    def test_another_value_is_seen(self):
        self.assertEqual(self.flaws([0, 1, 2], city="Springfields"), "other values than ours")


class Table(unittest.TestCase):
    def test_ratios_are_to_the_mean_of_our_runs(self):
        def result(name, cpu_seconds):
            return {"name": name, "cpu_seconds_per_million": cpu_seconds, "messages_per_second": 1, "peak_rss_bytes": 1,
                    "start_cpu_seconds": 0, "rows": 1, "lost": 0, "duplicated": 0, "flaws": ""}

        lines = table.render([result("ours, first", 1), result("peer", 3), result("ours, again", 2)]).splitlines()
        self.assertIn("3.00 (2.00x)", lines[3])
        self.assertIn("each message once", lines[3])


def verdict(rows, messages, **changes):
    stored = [{**dict.fromkeys(FIELDS, "same"), "zip": "7", "email": f"{row}@example.com", **changes} for row in rows]
    return Verdict(1, 1, **count(dataset.dataset(pyarrow.Table.from_pylist(stored)), messages))


if __name__ == "__main__":
    unittest.main()
