"""Streams users to Kafka once a day, then audits that all of them are stored exactly once.

It needs the connection `ingestor`, whose password is the ingestor's ADMIN_TOKEN, and pipectl with its settings in the
environment. README.md beside the folder of DAGs lists everything that can be set.
"""

import os
from datetime import datetime, timedelta, timezone

from airflow.sdk import DAG, Param, Variable, task
from airflow.sdk.exceptions import AirflowFailException
from names_pipeline.audit import Findings, audit
from names_pipeline.operators import IngestorRunOperator

# Longer than a run, its drain, and the wait for another run to end.
STREAM_TIMEOUT = timedelta(seconds=float(os.environ.get("STREAM_TIMEOUT_SECONDS", "3600")))


@task(execution_timeout=timedelta(hours=1))
def audit_task(run):
    wait_seconds_max = float(Variable.get("audit_wait_seconds_max", default=300))
    try:
        return audit([os.environ.get("PIPECTL", "pipectl")], run["counts"]["delivered"], wait_seconds_max)
    except Findings as findings:
        # They do not go away by looking again.
        raise AirflowFailException(str(findings)) from None


with DAG(
    dag_id="name_stream_dag",
    description="randomuser.me to Kafka to Parquet on S3, then the audit",
    doc_md=__doc__,
    schedule="0 1 * * *",
    start_date=datetime(2018, 12, 21, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "airflow", "retries": 1, "retry_delay": timedelta(seconds=5)},
    # Left empty, the ingestor's settings hold.
    params={
        "results": Param(None, type=["null", "integer"], minimum=1, maximum=5000, description="Users in one request"),
        "pause_seconds": Param(
            None, type=["null", "number"], minimum=0, maximum=86400, description="From one request to the next"
        ),
        "streaming_seconds": Param(
            None, type=["null", "number"], minimum=0, maximum=2678400, description="How long requests are made"
        ),
        "seed": Param(
            None, type=["null", "string"], minLength=1, maxLength=256, description="The same users each time"
        ),
    },
):
    stream = IngestorRunOperator(task_id="stream_to_kafka_task", execution_timeout=STREAM_TIMEOUT)
    audit_task(stream.output)
