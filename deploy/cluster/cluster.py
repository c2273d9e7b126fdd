#!/usr/bin/env python3
"""A real three-broker Apache Kafka and a real S3 server as processes on 127.0.0.1, without Docker.

deploy/cluster/cluster.py up            gets what is missing, starts all, waits until all answer
deploy/cluster/cluster.py down          stops all; the data stays
deploy/cluster/cluster.py wipe          stops all and removes the data
deploy/cluster/cluster.py status        a line for each process; exit code 1 if one of them is down
deploy/cluster/cluster.py start NAME    starts one of broker-1, broker-2, broker-3, store, and waits until it answers
deploy/cluster/cluster.py stop NAME     SIGTERM, and waits for its end
deploy/cluster/cluster.py kill NAME     kill -9
deploy/cluster/cluster.py kafka-TOOL …  one of Kafka's own tools, such as kafka-topics, pointed at the brokers

It needs Java 17 and Maven for Kafka, and Go for the S3 server, VersityGW. Both stay in the user's cache folder, data and
logs in target/cluster, where `env` exports what clients need. CLUSTER_PORT moves all ports; the first is 29092.
Python's standard library only.
"""

import json
import shlex
import shutil
import signal
import sys

import kafka
import store
from settings import DATA, HERE, HOST, PORT, PORT_FILE, STORE_PORT, ClusterError


def main(arguments):
    servers = {server.name: server for server in [*map(kafka.Broker, kafka.BROKERS), store.Store()]}
    try:
        match arguments:
            case ["up"]:
                DATA.mkdir(parents=True, exist_ok=True)
                PORT_FILE.write_text(str(PORT))
                start(servers.values())
                write_env()
                return show(servers.values()) or tell()
            case ["down"]:
                end(servers.values(), signal.SIGTERM)
            case ["wipe"]:
                end(servers.values(), signal.SIGKILL)
                shutil.rmtree(DATA, ignore_errors=True)
            case ["status"]:
                return show(servers.values())
            case ["start", name] if name in servers:
                start([servers[name]])
            case ["stop", name] if name in servers:
                end([servers[name]], signal.SIGTERM)
            case ["kill", name] if name in servers:
                end([servers[name]], signal.SIGKILL)
            case [tool, *rest] if tool in kafka.TOOLS:
                return kafka.run_tool(kafka.install(), tool, rest)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def start(servers):
    """All at once: a broker alone waits for the others to elect a controller."""
    for server in servers:
        server.start()
    for server in servers:
        server.wait_started()


def end(servers, how):
    """All at once: brokers that stop one after the other lose their majority on the way, and wait for it."""
    for server in servers:
        server.signal(how)
    for server in servers:
        server.wait_gone()


def show(servers):
    for server in servers:
        print(server.status())
    return 0 if all(server.pid() for server in servers) else 1


def write_env():
    """`env` for people, with what clients need; `cluster.json` for tests, with the rest too."""
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap(),
        "AWS_ENDPOINT_URL_S3": f"http://{HOST}:{STORE_PORT}",
        "AWS_REGION": store.REGION,
        "AWS_ACCESS_KEY_ID": store.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": store.SECRET_KEY,
        "S3_BUCKET": store.BUCKET,
    }
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    (DATA / "env").write_text("".join(lines))
    facts = {
        "command": str(HERE / "cluster.py"),
        "bootstrap_servers": kafka.bootstrap(),
        "secure_bootstrap_servers": kafka.bootstrap(kafka.SECURE_PORT),
        "proxied_port": kafka.PROXIED_PORT,
        "proxy_port": kafka.PROXY_PORT,
        "tls": str(DATA / "tls"),
        "store": f"{HOST}:{STORE_PORT}",
        "bucket": store.BUCKET,
        "access_key": store.ACCESS_KEY,
        "secret_key": store.SECRET_KEY,
        "objects": str(store.OBJECTS / store.BUCKET),
    }
    (DATA / "cluster.json").write_text(json.dumps(facts, indent=2) + "\n")


def tell():
    print(f"cluster: ready; `. {DATA}/env`, then `pipectl topics ensure`, s3-sink, ingestor")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
