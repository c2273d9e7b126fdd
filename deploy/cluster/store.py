"""The S3 server: VersityGW over a plain directory."""

import os
import shutil
import subprocess
import urllib.error
import urllib.request

from process import Server
from settings import CACHE, DATA, HOST, STORE_PORT, ClusterError

VERSION = "v1.8.0"
REGION, BUCKET = "us-east-1", "names"
ACCESS_KEY, SECRET_KEY = "cluster", "cluster-secret"
# Objects are plain files at BUCKET/KEY below it; their metadata lies in extended attributes.
OBJECTS = DATA / "store"


def install():
    """Builds the server from its sources, once for each version."""
    binary = CACHE / f"versitygw-{VERSION}" / "versitygw"
    if binary.exists():
        return binary
    if not shutil.which("go"):
        raise ClusterError("go is missing, which builds the S3 server: https://go.dev/doc/install")
    print(f"cluster: building VersityGW {VERSION}", flush=True)
    unfinished = binary.parent.with_suffix(".unfinished")
    done = subprocess.run(
        ["go", "install", f"github.com/versity/versitygw/cmd/versitygw@{VERSION}"],
        env={**os.environ, "GOBIN": str(unfinished), "GOFLAGS": "-modcacherw"}, check=False,
    )
    if done.returncode:
        raise ClusterError("the S3 server could not be built, see above")
    unfinished.rename(binary.parent)
    return binary


class Store(Server):
    """The S3 server."""

    def __init__(self):
        super().__init__("store", [STORE_PORT], str(OBJECTS))

    def start(self):
        if self.pid():
            return
        (OBJECTS / BUCKET).mkdir(parents=True, exist_ok=True)
        arguments = ["--quiet", "--keep-alive", "--health", "/health", "--port", f"{HOST}:{STORE_PORT}", "posix", OBJECTS]
        self.launch(
            [str(part) for part in [install(), *arguments]],
            {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY},
        )

    def wait_started(self):
        self.wait_ready(is_healthy)


def is_healthy():
    try:
        with urllib.request.urlopen(f"http://{HOST}:{STORE_PORT}/health", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
