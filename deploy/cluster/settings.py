"""Where the cluster's parts lie and listen."""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
# Data, logs and pids of the running cluster.
DATA = TARGET / "cluster"
# What is built or fetched once for all checkouts.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "names-pipeline"

HOST = "127.0.0.1"
# The ports of the cluster that was started last, for whoever comes without CLUSTER_PORT.
PORT_FILE = DATA / "port"
# Below the ports that Linux gives to outgoing connections (32768 and up).
PORT = int(os.environ.get("CLUSTER_PORT") or (PORT_FILE.read_text() if PORT_FILE.exists() else "29092"))
STORE_PORT = PORT + 500


class ClusterError(Exception):
    """What went wrong, and what to do about it."""
