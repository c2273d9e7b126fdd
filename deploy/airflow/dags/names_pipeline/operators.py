"""The DAG's task that streams: a run of the ingestor, seen by Airflow."""

from airflow.sdk import BaseOperator, Connection, Variable
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from names_pipeline.runs import REQUEST_SECONDS_MAX, Follower, Refused, RunApi, RunApiError, RunError

# What a run may do otherwise than the ingestor's settings say.
RUN_PARAMETERS = ("results", "pause_seconds", "streaming_seconds", "seed")


class IngestorRunOperator(BaseOperator):
    """Starts a run of the ingestor at the HTTP connection `conn_id`, waits for its end and returns it.

    Fails with the run's own error. The tries of a task share the run unless it has failed; clearing the task begins
    anew. Ending the task, by hand or by `execution_timeout`, cancels the run.
    """

    def __init__(self, *, conn_id="ingestor", **arguments):
        super().__init__(**arguments)
        self.conn_id = conn_id
        self._follower = None

    def execute(self, context):
        busy_seconds_max = float(Variable.get("ingestor_busy_seconds_max", default=300))
        unavailable_seconds_max = float(Variable.get("ingestor_unavailable_seconds_max", default=60))
        api = run_api(Connection.get(self.conn_id), min(REQUEST_SECONDS_MAX, unavailable_seconds_max))
        self._follower = Follower(api, busy_seconds_max, unavailable_seconds_max)
        parameters = {name: context["params"].get(name) for name in RUN_PARAMETERS}
        parameters = {name: value for name, value in parameters.items() if value is not None}
        try:
            return self._follower.follow(self._keys(context), parameters)
        except Refused as error:
            raise AirflowFailException(str(error)) from None
        except RunError as error:
            raise AirflowException(str(error)) from None

    def on_kill(self):
        if self._follower is None:
            return
        try:
            self._follower.cancel()
        except RunApiError as error:
            self.log.error("the run could not be cancelled and goes on: %s", error)

    def _keys(self, context):
        """One idempotency key for each try since the task was begun or cleared; the current one comes last."""
        ti = context["ti"]
        # Clearing a task sets `max_tries` to `retries` more than the tries there were.
        first = min(ti.try_number, ti.max_tries - self.retries + 1)
        return [f"{context['run_id']}/{number}" for number in range(max(first, 1), ti.try_number + 1)]


def run_api(connection, seconds_max):
    """From `http://:TOKEN@HOST:PORT`, or an address with its scheme in the field `host`."""
    host = connection.host or ""
    if "://" not in host:
        scheme = connection.schema or ("https" if connection.conn_type == "https" else "http")
        host = f"{scheme}://{host}" + (f":{connection.port}" if connection.port else "")
    return RunApi(host, connection.password, seconds_max)
