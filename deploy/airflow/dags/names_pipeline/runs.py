"""Starts a run of the ingestor through its run API and follows it to its end.

Knows nothing of Airflow. The ingestor describes its side at `/openapi.json`. Python's standard library only.
"""

import http.client
import json
import logging
import time
import urllib.error
import urllib.request

# The answer to a POST waits until Kafka has recorded the run.
REQUEST_SECONDS_MAX = 15
# Whoever cancels may be about to be killed.
CANCEL_SECONDS_MAX = 2
POLL_SECONDS = 1
PROGRESS_SECONDS = 15

ENDED = ("succeeded", "failed", "cancelled")

log = logging.getLogger(__name__)


class RunError(Exception):
    """Why there is no run that succeeded. Another try may help."""


class RunApiError(Exception):
    """Why a request to the run API got no run."""


class Refused(RunApiError):
    """The ingestor does not take the request, and won't take it if it is repeated."""


class Unavailable(RunApiError):
    """No answer, or one that says: later."""


class Busy(RunApiError):
    """Another run is active."""


class NotFound(RunApiError):
    """The ingestor knows no such run."""


class RunApi:
    """The ingestor's run API at `url`. Each method but `cancel` is one request, of `seconds_max` at most."""

    def __init__(self, url, token=None, seconds_max=REQUEST_SECONDS_MAX):
        self.url = url.rstrip("/")
        self._seconds_max = seconds_max
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def begin(self, key, parameters):
        """The run of this idempotency key, begun now if it is the first time that the key is seen."""
        return self._ask("POST", "/runs", parameters, {"Idempotency-Key": key})

    def get(self, run_id):
        return self._ask("GET", f"/runs/{run_id}")

    def cancel(self, key):
        """Ends the run of this key, if there is one. What it has fetched is delivered still."""
        for run in self._ask("GET", "/runs", seconds_max=CANCEL_SECONDS_MAX)["runs"]:
            if run["idempotency_key"] == key and run["state"] not in ENDED:
                self._ask("DELETE", f"/runs/{run['id']}", seconds_max=CANCEL_SECONDS_MAX)

    def _ask(self, method, path, body=None, headers=None, seconds_max=None):
        request = urllib.request.Request(self.url + path, method=method, headers=self._headers | (headers or {}))
        if body:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=seconds_max or self._seconds_max) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise self._refusal(error, f"{method} {path}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            # ValueError: an answer that is no JSON, since it was cut off or comes from somebody else.
            reason = getattr(error, "reason", error)
            raise Unavailable(f"no answer from the ingestor at {self.url}: {reason}") from None

    def _refusal(self, error, request):
        try:
            problem = json.load(error)
            code, detail = problem["code"], problem["detail"]
        except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError):
            code, detail = None, "is this the address of an ingestor?"
        text = f"{self.url} answers {error.code} {error.reason} to {request}: {detail}"
        if error.code == 401:
            return Refused(f"{text}; the connection's password must be the ingestor's ADMIN_TOKEN")
        if code == "run_active":
            return Busy(detail)
        if code == "run_not_found":
            return NotFound(text)
        if error.code >= 500 or error.code in (408, 429):
            return Unavailable(text)
        return Refused(text)


class Follower:
    """Brings one run about and waits for its end.

    It waits at most `busy_seconds_max` for another run to end, and goes on without an answer from the
    ingestor for at most `unavailable_seconds_max`.
    """

    def __init__(self, api, busy_seconds_max, unavailable_seconds_max, clock=time.monotonic, sleep=time.sleep):
        self._api = api
        self._busy_seconds_max = busy_seconds_max
        self._unavailable_seconds_max = unavailable_seconds_max
        self._clock = clock
        self._sleep = sleep
        self._key = None
        self._stopped = False

    def follow(self, keys, parameters):
        """Returns the run that succeeded. Raises `RunError` or `Refused`.

        `keys` are the idempotency keys of all tries so far, this one's last. Each asks for a run. The first one that
        can still succeed, or has done so, is taken: so a try that lost its ingestor, or died, is continued by the next
        one, and only a run that failed is followed by another.
        """
        for key in keys:
            run = self._begin(key, parameters)
            if not has_failed(run):
                break
            log.info("no success from idempotency key %s: %s", key, describe(run))
        log.info("following run %s, idempotency key %s", run["id"], key)
        run = self._wait(run)
        if run["state"] != "succeeded":
            raise RunError(describe(run))
        log.info(describe(run))
        return run

    def cancel(self):
        """Ends the run and makes `follow` raise. May be called by a signal handler, whatever `follow` does."""
        self._stopped = True
        if self._key:
            self._api.cancel(self._key)

    def _begin(self, key, parameters):
        self._stop_if_told()
        self._key = key
        run = self._patiently(lambda: self._api.begin(key, parameters))
        if self._stopped:
            # It was not there yet when it was cancelled.
            self._api.cancel(key)
        return run

    def _wait(self, run):
        told = self._clock()
        while run["state"] not in ENDED:
            self._pause()
            run = self._patiently(lambda: self._api.get(run["id"]))
            if self._clock() - told >= PROGRESS_SECONDS:
                told = self._clock()
                log.info(describe(run))
        return run

    def _patiently(self, ask):
        """The answer, as soon as there is one."""
        asked = answered = self._clock()
        told = None
        while True:
            try:
                return ask()
            except Busy as error:
                answered = self._clock()
                if answered - asked >= self._busy_seconds_max:
                    raise RunError(f"the ingestor is still busy after {self._busy_seconds_max:g} s: {error}") from None
                why = f"the ingestor is busy: {error}"
            except Unavailable as error:
                if self._clock() - answered >= self._unavailable_seconds_max:
                    raise RunError(f"{error}; gave up after {self._unavailable_seconds_max:g} s") from None
                why = str(error)
            except NotFound as error:
                raise RunError(f"{error}; was the ingestor started anew without its topic of runs?") from None
            if why != told:
                told = why
                log.warning("%s", why)
            self._pause()

    def _pause(self):
        self._stop_if_told()
        self._sleep(POLL_SECONDS)

    def _stop_if_told(self):
        if self._stopped:
            raise RunError("told to stop: the run is cancelled")


def has_failed(run):
    """Whether the run did not succeed, or can't any more."""
    return run["state"] in ("failed", "cancelled") or (run["state"] not in ENDED and bool(run["cancel_requested_at"]))


def describe(run):
    """The run in one line."""
    counts = run["counts"]
    why = f": {run['last_error']}" if run["last_error"] else ""
    return (
        f"run {run['id']} {run['state']}{why} ({counts['delivered']} messages delivered, {counts['rejected']} users "
        f"rejected, {counts['requests_failed']} of {counts['requests']} requests failed)"
    )
