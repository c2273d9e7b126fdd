"""A certificate authority for the secure listener, and the brokers' certificates by it."""

import shutil
import subprocess

from settings import ClusterError

# Of key stores that guard nothing but this machine's loopback.
PASSWORD = "cluster"
# Long enough for any cluster for work and tests.
DAYS = 3650


def certify(folder, host):
    """Makes in `folder`, unless they are there: `ca.pem`, the authority for clients to trust; `broker.p12`, the
    brokers' key store for `host`; `expired.p12`, the same with a certificate that ended yesterday; `other-ca.pem`, an
    authority that signed nothing."""
    if folder.exists():
        return
    if not shutil.which("keytool"):
        raise ClusterError("keytool is missing, which comes with Java (Debian: apt-get install openjdk-17-jre-headless)")
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for authority in ("ca", "other-ca"):
        make_authority(unfinished, authority)
    make_broker(unfinished, "broker", host, ["-validity", DAYS])
    make_broker(unfinished, "expired", host, ["-startdate", "-3d", "-validity", 2])
    unfinished.rename(folder)


def make_authority(folder, name):
    store = folder / f"{name}.p12"
    key_pair = ["-genkeypair", "-alias", name, "-keyalg", "EC", "-groupname", "secp256r1", "-validity", DAYS]
    keytool(store, *key_pair, "-dname", f"CN=names-pipeline {name}", "-ext", "bc:c")
    keytool(store, "-exportcert", "-rfc", "-alias", name, "-file", folder / f"{name}.pem")


def make_broker(folder, name, host, validity):
    store, request, answer = folder / f"{name}.p12", folder / f"{name}.csr", folder / f"{name}.pem"
    key_pair = ["-genkeypair", "-alias", "broker", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", DAYS]
    keytool(store, *key_pair, "-dname", f"CN={host}")
    keytool(store, "-certreq", "-alias", "broker", "-file", request)
    sign = ["-gencert", "-rfc", "-alias", "ca", "-ext", f"san=ip:{host}", *validity]
    keytool(folder / "ca.p12", *sign, "-infile", request, "-outfile", answer)
    keytool(store, "-importcert", "-noprompt", "-alias", "ca", "-file", folder / "ca.pem")
    keytool(store, "-importcert", "-noprompt", "-alias", "broker", "-file", answer)


def keytool(store, *arguments):
    command = ["keytool", "-keystore", store, "-storetype", "PKCS12", "-storepass", PASSWORD, *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"keytool {arguments[0]} failed:\n{done.stdout}{done.stderr}")
