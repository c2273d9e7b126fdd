"""The brokers: their jars, their settings, their start."""

import base64
import re
import secrets
import shutil
import subprocess

from certificates import PASSWORD, certify
from process import Server
from settings import CACHE, DATA, HERE, HOST, PORT, ROOT, ClusterError

BROKERS = (1, 2, 3)
# Broker N listens at each of these + N - 1.
PLAIN_PORT, CONTROLLER_PORT, PROXIED_PORT, SECURE_PORT = PORT, PORT + 100, PORT + 200, PORT + 300
# What the proxied listener says that its address is: tests put a proxy there, and cut it.
PROXY_PORT = PORT + 400
# Of the secure listener, by SCRAM-SHA-512, with `secret-of-NAME` as password. ACLs say what each may do: at first nothing.
USERS = ("ingestor", "s3-sink", "pipectl")

HEAP = "384m"
TOOLS = {
    "kafka-acls": "org.apache.kafka.tools.AclCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "kafka-reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
}


def bootstrap(first_port=PLAIN_PORT):
    return ",".join(f"{HOST}:{first_port + number - 1}" for number in BROKERS)


def install():
    """Copies the jars that pom.xml names from Maven Central, once for each version of it."""
    version = re.search(r"<artifactId>kafka-tools</artifactId>\s*<version>(.*?)<", (HERE / "pom.xml").read_text())[1]
    jars = CACHE / f"kafka-{version}"
    if not shutil.which("java"):
        raise ClusterError("java is missing: Kafka needs 17 or later (Debian: apt-get install openjdk-17-jre-headless)")
    if jars.exists():
        return jars
    if not shutil.which("mvn"):
        raise ClusterError("mvn is missing, which fetches Kafka (Debian: apt-get install maven)")
    print(f"cluster: fetching Kafka {version} with Maven", flush=True)
    unfinished = jars.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={unfinished}"]
    if subprocess.run(["mvn", "-B", "-q", "-f", HERE / "pom.xml", *goal], check=False).returncode:
        raise ClusterError("Maven could not fetch Kafka, see above")
    unfinished.rename(jars)
    return jars


def java(jars, *arguments, heap="256m", logs="tools-log4j2.yaml"):
    options = [f"-Xmx{heap}", "-XX:+ExitOnOutOfMemoryError", "-XX:+UseSerialGC", "-Djava.awt.headless=true"]
    settings = f"-Dlog4j2.configurationFile={ROOT}/deploy/kafka/{logs}"
    return ["java", *options, settings, "-cp", f"{jars}/*", *map(str, arguments)]


def run_tool(jars, name, arguments):
    """Runs one of Kafka's command-line tools and returns its exit code."""
    given = any(argument.startswith("--bootstrap-") for argument in arguments)
    servers = [] if given else ["--bootstrap-server", bootstrap()]
    return subprocess.run(java(jars, TOOLS[name], *servers, *arguments), check=False).returncode


class Broker(Server):
    """A broker that is a controller too."""

    def __init__(self, number):
        self.number = number
        self.settings = DATA / f"broker-{number}.properties"
        offset = number - 1
        ports = [port + offset for port in (PLAIN_PORT, CONTROLLER_PORT, PROXIED_PORT, SECURE_PORT)]
        super().__init__(f"broker-{number}", ports, str(self.settings))

    def start(self):
        if self.pid():
            return
        jars = install()
        DATA.mkdir(parents=True, exist_ok=True)
        certify(DATA / "tls", HOST)
        self.settings.write_text(self.properties())
        self.format(jars)
        self.launch(java(jars, "kafka.Kafka", self.settings, heap=HEAP, logs="log4j2.yaml"))

    def wait_started(self):
        # The line is written once the broker is unfenced and serves clients.
        self.wait_ready(lambda: b"Kafka Server started" in self.log.read_bytes())

    def properties(self):
        """What the brokers in containers have, then what is different here: the last line for a key counts."""
        voters = ",".join(f"{number}@{HOST}:{CONTROLLER_PORT + number - 1}" for number in BROKERS)
        plain, controller, proxied, secure = self.ports
        return f"""{(ROOT / "deploy/kafka/server.properties").read_text()}
# From here on: {self.name} on this machine.
node.id={self.number}
controller.quorum.voters={voters}
log.dirs={DATA}/{self.name}
listeners=CONTROLLER://{HOST}:{controller},INSIDE://{HOST}:{plain},PROXIED://{HOST}:{proxied},SECURE://{HOST}:{secure}
advertised.listeners=INSIDE://{HOST}:{plain},PROXIED://{HOST}:{PROXY_PORT + self.number - 1},SECURE://{HOST}:{secure}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,INSIDE:PLAINTEXT,PROXIED:PLAINTEXT,SECURE:SASL_SSL
num.partitions=6

# The secure listener. Whoever comes by another one is anonymous, and may do everything.
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.ssl.keystore.type=PKCS12
listener.name.secure.ssl.keystore.location={DATA}/tls/broker.p12
listener.name.secure.ssl.keystore.password={PASSWORD}

# Small, and soon to notice: a broker that dies, a log to be compacted or cut.
num.network.threads=2
num.io.threads=4
offsets.topic.num.partitions=6
transaction.state.log.num.partitions=6
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=500
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=1000
broker.session.timeout.ms=6000
group.min.session.timeout.ms=1000
"""

    def format(self, jars):
        """Makes an empty log with the cluster's id and the users of the secure listener."""
        if (DATA / self.name / "meta.properties").exists():
            return
        cluster_id = DATA / "cluster.id"
        if not cluster_id.exists():
            # 16 bytes. Tools would take an id that begins with a dash for an option.
            cluster_id.write_text("N" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode()[1:22])
        users = [part for user in USERS for part in ("--add-scram", f"SCRAM-SHA-512=[name={user},password=secret-of-{user}]")]
        command = ["format", "--cluster-id", cluster_id.read_text(), "--config", self.settings, *users]
        done = subprocess.run(
            java(jars, "kafka.tools.StorageTool", *command),
            capture_output=True, text=True, check=False,
        )
        if done.returncode:
            raise ClusterError(f"{self.name}: its log can't be made:\n{done.stdout}{done.stderr}")
