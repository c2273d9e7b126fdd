#!/usr/bin/env python3
"""Tests the modules of the DAG by themselves, in simulated time. `make test-airflow` runs them first.

All but those of the operator need Python's standard library only.
"""

import http.server
import json
import logging
import os
import pathlib
import sys
import tempfile
import threading
import types
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "deploy" / "airflow" / "dags"))

from names_pipeline import audit, runs  # noqa: E402


def run(number, state, **more):
    counts = {"delivered": 7, "rejected": 1, "requests": 3, "requests_failed": 2}
    return {"id": f"id-{number}", "state": state, "cancel_requested_at": None, "last_error": None, "counts": counts} | more


class Ingestor:
    """Answers `begin` and `get` with the next of `answers`, and notes what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def begin(self, key, parameters):
        return self.answer(f"begin {key}")

    def get(self, run_id):
        return self.answer(f"get {run_id}")

    def cancel(self, key):
        self.asked.append(f"cancel {key}")

    def answer(self, question):
        self.asked.append(question)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Following(unittest.TestCase):
    def follow(self, ingestor, keys, at_sleep=lambda: None, busy=300, unavailable=60):
        self.now = 0

        def sleep(seconds):
            self.now += seconds
            at_sleep()

        self.follower = runs.Follower(ingestor, busy, unavailable, clock=lambda: self.now, sleep=sleep)
        return self.follower.follow(keys, {})

    def test_a_run_is_followed_to_its_success(self):
        ingestor = Ingestor(run(1, "queued"), run(1, "running"), run(1, "succeeded"))
        self.assertEqual(self.follow(ingestor, ["k/1"])["state"], "succeeded")
        self.assertEqual(ingestor.asked, ["begin k/1", "get id-1", "get id-1"])

    def test_the_error_of_a_run_is_told(self):
        ingestor = Ingestor(run(1, "running"), run(1, "failed", last_error="out of users"))
        with self.assertRaisesRegex(runs.RunError, "run id-1 failed: out of users .7 messages delivered.*2 of 3 requests"):
            self.follow(ingestor, ["k/1"])

    def test_a_cancelled_run_is_no_success(self):
        with self.assertRaisesRegex(runs.RunError, "run id-1 cancelled"):
            self.follow(Ingestor(run(1, "running"), run(1, "cancelled")), ["k/1"])

    def test_a_retry_goes_on_with_a_run_that_lives_or_has_succeeded(self):
        for state in ("queued", "running", "succeeded"):
            ingestor = Ingestor(run(1, state), run(1, "succeeded"))
            self.follow(ingestor, ["k/1", "k/2"])
            self.assertNotIn("begin k/2", ingestor.asked)

    def test_a_retry_begins_another_run_after_one_that_failed(self):
        dying = run(1, "running", cancel_requested_at="2026-11-02T01:00:00Z")
        for dead in (run(1, "failed"), run(1, "cancelled"), dying):
            ingestor = Ingestor(dead, run(2, "succeeded"))
            self.assertEqual(self.follow(ingestor, ["k/1", "k/2"])["id"], "id-2")
            self.assertEqual(ingestor.asked, ["begin k/1", "begin k/2"])

    def test_another_run_is_waited_for_and_not_for_ever(self):
        busy = runs.Busy("run id-9 is active")
        self.assertEqual(self.follow(Ingestor(busy, busy, run(1, "succeeded")), ["k/1"])["id"], "id-1")
        with self.assertRaisesRegex(runs.RunError, "still busy after 300 s: run id-9 is active"):
            self.follow(Ingestor(busy), ["k/1"])
        self.assertEqual(self.now, 300)

    def test_an_ingestor_that_is_away_is_waited_for_and_not_for_ever(self):
        away = runs.Unavailable("no answer")
        answers = [away, run(1, "running"), away, away, run(1, "running"), away, run(1, "succeeded")]
        self.assertEqual(self.follow(Ingestor(*answers), ["k/1"], unavailable=3)["id"], "id-1")
        with self.assertRaisesRegex(runs.RunError, "no answer; gave up after 60 s"):
            self.follow(Ingestor(run(1, "running"), away), ["k/1"])
        self.assertEqual(self.now, 61)

    def test_a_run_that_is_forgotten_fails_the_try(self):
        with self.assertRaisesRegex(runs.RunError, "topic of runs"):
            self.follow(Ingestor(run(1, "running"), runs.NotFound("404")), ["k/1"])

    def test_a_refusal_is_not_repeated(self):
        ingestor = Ingestor(runs.Refused("401"))
        with self.assertRaises(runs.Refused):
            self.follow(ingestor, ["k/1"])
        self.assertEqual(ingestor.asked, ["begin k/1"])

    def test_what_is_cancelled_is_cancelled_by_its_key_and_fails(self):
        ingestor = Ingestor(run(1, "running"))
        with self.assertRaisesRegex(runs.RunError, "told to stop"):
            self.follow(ingestor, ["k/1"], at_sleep=lambda: self.follower.cancel())
        self.assertEqual(ingestor.asked, ["begin k/1", "cancel k/1", "get id-1"])

    def test_a_run_that_begins_while_it_is_cancelled_is_cancelled_too(self):
        ingestor = Ingestor(run(1, "running"))
        begin = ingestor.begin
        ingestor.begin = lambda *asked: (self.follower.cancel(), begin(*asked))[1]
        with self.assertRaisesRegex(runs.RunError, "told to stop"):
            self.follow(ingestor, ["k/1"])
        self.assertEqual(ingestor.asked, ["cancel k/1", "begin k/1", "cancel k/1"])


    def test_nothing_is_begun_any_more_once_it_is_cancelled(self):
        ingestor = Ingestor(run(1, "failed"), run(2, "running"))
        begin = ingestor.begin
        ingestor.begin = lambda *asked: (begin(*asked), self.follower.cancel())[0]
        with self.assertRaisesRegex(runs.RunError, "told to stop"):
            self.follow(ingestor, ["k/1", "k/2"])
        self.assertNotIn("begin k/2", ingestor.asked)

    def test_a_wait_is_logged_once(self):
        answers = [runs.Busy("run id-9 is active")] * 5 + [run(1, "succeeded")]
        with self.assertLogs(runs.log, "WARNING") as logged:
            self.follow(Ingestor(*answers), ["k/1"])
        self.assertEqual(len(logged.output), 1)


class Requests(unittest.TestCase):
    """The client against a server whose answers are set by each test."""

    def setUp(self):
        self.requests, self.answers = [], []
        test = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                test.requests.append((f"{self.command} {self.path}", dict(self.headers), body))
                status, text = test.answers.pop(0)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()
        self.api = runs.RunApi(f"http://127.0.0.1:{self.server.server_port}/", "token-of-16-bytes")

    def begin(self, status, answer):
        self.answers.append((status, answer if isinstance(answer, str) else json.dumps(answer)))
        return self.api.begin("k/1", {"results": 5})

    def test_a_run_is_begun_with_key_token_and_parameters(self):
        self.assertEqual(self.begin(202, {"id": "id-1"}), {"id": "id-1"})
        [(line, headers, body)] = self.requests
        self.assertEqual((line, json.loads(body)), ("POST /runs", {"results": 5}))
        self.assertEqual(headers["Authorization"], "Bearer token-of-16-bytes")
        self.assertEqual((headers["Idempotency-Key"], headers["Content-Type"]), ("k/1", "application/json"))

    def test_every_refusal_is_told_apart(self):
        for status, code, kind in [
            (400, "invalid_body", runs.Refused),
            (401, "unauthorized", runs.Refused),
            (422, "idempotency_key_reused", runs.Refused),
            (409, "run_active", runs.Busy),
            (404, "run_not_found", runs.NotFound),
            (404, "not_found", runs.Refused),
            (408, "request_timeout", runs.Unavailable),
            (503, "starting", runs.Unavailable),
        ]:
            with self.subTest(code=code), self.assertRaisesRegex(kind, "what to do"):
                self.begin(status, {"code": code, "detail": "what to do"})

    def test_a_wrong_token_names_the_remedy(self):
        with self.assertRaisesRegex(runs.Refused, "ADMIN_TOKEN"):
            self.begin(401, {"code": "unauthorized", "detail": "the token is wrong"})

    def test_somebody_elses_answers_are_no_runs(self):
        with self.assertRaisesRegex(runs.Refused, "is this the address of an ingestor"):
            self.begin(404, "<html>not here</html>")
        with self.assertRaisesRegex(runs.Refused, "is this the address of an ingestor"):
            self.begin(403, "[]")
        with self.assertRaises(runs.Unavailable):
            self.begin(200, "<html>welcome</html>")
        with self.assertRaises(runs.Unavailable):
            self.begin(502, "bad gateway")

    def test_nobody_answers(self):
        self.server.shutdown()
        self.server.server_close()
        with self.assertRaisesRegex(runs.Unavailable, "no answer from the ingestor at http://127.0.0.1:.*refused"):
            self.api.get("id-1")

    def test_only_the_active_run_of_the_key_is_cancelled(self):
        listed = [
            run(1, "running", idempotency_key="other"),
            run(2, "queued", idempotency_key="k/1"),
            run(3, "failed", idempotency_key="k/1"),
        ]
        self.answers += [(200, json.dumps({"runs": listed})), (202, "{}")]
        self.api.cancel("k/1")
        self.assertEqual([line for line, *_ in self.requests], ["GET /runs", "DELETE /runs/id-2"])


class Auditing(unittest.TestCase):
    """`audit` with a stand-in for pipectl that gives one of `reports` a call, the last one over and over."""

    LAG = {"check": "lag", "partition": 2, "message": "5 messages wait"}
    LOSS = {"check": "L1", "partition": None, "message": "offsets are missing"}

    def setUp(self):
        pause, audit.PAUSE_SECONDS = audit.PAUSE_SECONDS, 0
        self.addCleanup(setattr, audit, "PAUSE_SECONDS", pause)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def audit(self, *reports, delivered=10, wait=0, code=None):
        script = (
            "import pathlib, sys\n"
            f"folder = pathlib.Path({str(self.folder)!r})\n"
            "left = sorted(folder.glob('report-*'))\n"
            "text = left[0].read_text()\n"
            "if len(left) > 1: left[0].unlink()\n"
            "print(text)\n"
            "print(*sys.argv[1:], file=sys.stderr)\n"
            f"sys.exit({code} if {code is not None} else int('message' in text))\n"
        )
        for number, (findings, rows) in enumerate(reports):
            totals = {"rows": rows, "rejected": 1, "lag": 5}
            report = {"topic": "names_topic", "findings": findings, "totals": totals}
            (self.folder / f"report-{number}").write_text(json.dumps(report))
        return audit.audit([sys.executable, "-c", script], delivered, wait)

    def test_all_is_well(self):
        self.assertEqual(self.audit(([], 9))["rows"], 9)

    def test_the_sinks_get_time(self):
        self.assertEqual(self.audit(([self.LAG], 3), ([self.LAG], 5), ([], 9), wait=60)["rows"], 9)

    def test_the_sinks_do_not_get_for_ever(self):
        with self.assertRaisesRegex(audit.NotStored, "after 0 s: 1 findings: lag in partition 2: 5 messages wait"):
            self.audit(([self.LAG], 3))

    def test_a_finding_fails_at_once_and_each_is_told(self):
        with self.assertLogs(audit.log, "ERROR") as logged, self.assertRaisesRegex(audit.Findings, "L1: offsets are missing"):
            self.audit(([self.LAG, self.LOSS], 9), ([], 9), wait=60)
        self.assertEqual(len(logged.output), 2)

    def test_an_audit_of_another_place_is_noticed(self):
        with self.assertRaisesRegex(audit.Findings, "sees 9 messages .* fewer than the 10"):
            self.audit(([], 8))

    def test_an_audit_that_fails_is_none(self):
        with self.assertRaisesRegex(audit.NotAudited, "exit code 2: audit --json --expect-drained"):
            self.audit(([], 9), code=2)
        with self.assertRaisesRegex(audit.NotAudited, "exit code 1 and 0 findings"):
            self.audit(([], 9), code=1)
        with self.assertRaisesRegex(audit.NotAudited, "set PIPECTL"):
            audit.audit(["/nowhere/pipectl"], 0, 0)


class Operator(unittest.TestCase):
    """What the task makes of Airflow's context and connection."""

    @classmethod
    def setUpClass(cls):
        # Airflow writes there what it misses.
        os.environ.setdefault("AIRFLOW_HOME", str(ROOT / "target" / "airflow-units"))
        try:
            from airflow.sdk import Connection
            from names_pipeline import operators
        except ImportError as error:
            raise unittest.SkipTest(f"Airflow is not installed beside this Python: {error}") from None
        cls.connection, cls.operators = Connection, operators

    def keys(self, try_number, max_tries, retries=1):
        operator = self.operators.IngestorRunOperator(task_id="stream", retries=retries)
        ti = types.SimpleNamespace(try_number=try_number, max_tries=max_tries)
        return operator._keys({"ti": ti, "run_id": "r"})

    def test_each_try_knows_the_keys_of_those_before(self):
        self.assertEqual(self.keys(1, 1), ["r/1"])
        self.assertEqual(self.keys(2, 1), ["r/1", "r/2"])
        self.assertEqual(self.keys(3, 3, retries=3), ["r/1", "r/2", "r/3"])

    def test_a_cleared_task_begins_anew(self):
        # Cleared after one try, and after two; then retried.
        self.assertEqual(self.keys(2, 2), ["r/2"])
        self.assertEqual(self.keys(3, 3), ["r/3"])
        self.assertEqual(self.keys(4, 3), ["r/3", "r/4"])

    def test_retries_may_change_under_way(self):
        self.assertEqual(self.keys(1, 1, retries=5), ["r/1"])
        self.assertEqual(self.keys(2, 5, retries=0), ["r/2"])

    def test_the_connection_gives_address_and_token(self):
        for uri, address in [
            ("http://:secret@ingestor:8080", "http://ingestor:8080"),
            ("http://:secret@ingestor", "http://ingestor"),
            ("https://:secret@ingestor.example:8443", "https://ingestor.example:8443"),
            ("http://:secret@ingestor.example:443/https", "https://ingestor.example:443"),
        ]:
            api = self.operators.run_api(self.connection(conn_id="ingestor", uri=uri), 15)
            self.assertEqual((api.url, api._headers), (address, {"Authorization": "Bearer secret"}))
        by_hand = self.connection(conn_id="ingestor", conn_type="http", host="https://ingestor.example:8443/")
        api = self.operators.run_api(by_hand, 15)
        self.assertEqual((api.url, api._headers), ("https://ingestor.example:8443", {}))


if __name__ == "__main__":
    # Without a handler, Python prints the warnings that these tests provoke.
    logging.getLogger("names_pipeline").addHandler(logging.NullHandler())
    unittest.main()
