"""Checks rendered manifests: `check.py FILE...`, each the output of `kustomize build`.

First every resource against its schema, where an unknown field or a wrong type is a problem. Then what no schema knows:
that the manifests agree with each other, with the tables of the main README, and with what they promise.
"""

import functools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pydantic
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as monitoring

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# The oldest and the newest Kubernetes that the manifests are for.
KUBERNETES = ["1.31", "1.37"]
OPERATORS = {"keda.sh/v1alpha1": keda, "monitoring.coreos.com/v1": monitoring}
# How the main README's table of settings calls each program.
LETTERS = {"ingestor": "I", "s3-sink": "S", "pipectl": "P"}
SECRET = re.compile(r"KAFKA_CONFIG|AWS_.*(KEY|SECRET|TOKEN)")
# After the drain, leaving the group takes up to 5 s and the admin server up to 2 s.
LEAVE_SECONDS = 7
# What the sink's container gets beside MEMORY_LIMIT, as a part of it.
HEADROOM = 0.25
# KEDA's words for the sink's settings.
SCALER_READS = {
    "bootstrapServers": "KAFKA_BOOTSTRAP_SERVERS",
    "topic": "KAFKA_TOPIC",
    "consumerGroup": "KAFKA_GROUP_ID",
}
POD_IS_RESTRICTED = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_IS_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def main(files):
    facts, found = Facts(), 0
    for file in map(Path, files):
        docs = list(yaml.safe_load_all(file.read_text()))
        problems = problems_of(docs, facts)
        found += len(problems)
        print(f"{file.stem}: {len(docs)} resources, {len(problems)} problems")
        for problem in problems:
            print(f"  {problem}")
    return 1 if found else 0


def problems_of(docs, facts):
    """What is wrong with one rendering, each as `Kind/name: what`."""
    problems = []
    for doc in docs:
        problems += [f"{where(doc)}: {problem}" for problem in schema(json.dumps(doc))]
    if problems:
        return problems  # of the wrong shape: nothing else can be asked
    manifests = Manifests(docs, facts)
    if not manifests.workloads and not manifests.of("Namespace"):
        return []  # rules alone
    for check in (secrets, references, selectors, network, scheduler, scaling):
        problems += check(manifests)
    for workload in manifests.workloads:
        for check in (settings, probes, limits, hardening):
            problems += [f"{workload.place}: {problem}" for problem in check(workload, facts)]
    return problems


class Facts:
    """What the READMEs and the workspace say."""

    def __init__(self):
        readme, own = (ROOT / "README.md").read_text(), (HERE / "README.md").read_text()
        self.settings = {}  # name → (the programs that know it, its default or `required`)
        for names, programs, default in rows(readme, "Configuration", 3):
            fact = (programs.strip("`"), default.split("`")[1] if "`" in default else default)
            self.settings |= {name: fact for name in re.findall(r"`([^`]*)`", names)}
            if names.endswith("…"):
                self.aws = fact  # and all other variables of the AWS SDK
        self.paths = [path.strip("`") for path, _ in rows(readme, "Endpoints", 2)]
        self.partitions = int(self.settings["--partitions"][1])
        self.version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
        self.secrets = {
            (name.strip("`"), key)
            for name, keys in rows(own, "Secrets", 2)
            for key in re.findall(r"`([^`]*)`", keys)
        }

    def knows(self, program, args, name):
        other = self.aws if name.startswith("AWS_") else ("", "")
        programs, _ = self.settings.get(name, other)
        return LETTERS[program] in programs.split() or programs == f"{program} {args[0]}"


def rows(text, title, columns):
    """The first cells of each row that begins with code, of the tables below a title."""
    section = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", text, re.M | re.S)[1]
    return re.findall(r"^\| (`.*?) \|" + r" (.*?) \|" * (columns - 1), section, re.M)


class Manifests:
    """The resources of one rendering."""

    def __init__(self, docs, facts):
        self.docs, self.facts = docs, facts
        self.workloads = [Workload(doc, self) for doc in docs if doc["kind"] in ("Deployment", "Job", "CronJob")]

    def of(self, kind):
        return [doc for doc in self.docs if doc["kind"] == kind]

    def find(self, kind, name):
        return next((doc for doc in self.of(kind) if doc["metadata"]["name"] == name), None)


class Workload:
    """Something that starts pods, each with one container."""

    def __init__(self, doc, manifests):
        self.doc, self.place, self.spec = doc, where(doc), doc["spec"]
        template = self.spec.get("jobTemplate", {}).get("spec", self.spec)["template"]
        self.labels, self.pod = template["metadata"]["labels"], template["spec"]
        [self.container] = self.pod["containers"]
        self.program = self.container["image"].split(":")[0].rsplit("/", 1)[-1]
        self.args = self.container.get("args", [""])
        self.ports = {port["name"]: port["containerPort"] for port in self.container.get("ports", [])}
        # Name → value, or None if it comes from a Secret. The later one wins, as Kubernetes has it.
        self.environment = {}
        self.config_maps = [source["configMapRef"]["name"] for source in self.container.get("envFrom", [])]
        for config_map in self.config_maps:
            self.environment |= (manifests.find("ConfigMap", config_map) or {}).get("data", {})
        self.entries = self.container.get("env", [])
        self.environment |= {entry["name"]: entry.get("value") for entry in self.entries}
        defaults = {name: default for name, (_, default) in manifests.facts.settings.items()}
        self.settings = defaults | {name: value for name, value in self.environment.items() if value}


def where(doc):
    return f"{doc['kind']}/{doc['metadata']['name']}"


@functools.cache  # reading the schemas takes the time, and most resources are the same in every rendering
def schema(doc):
    doc = json.loads(doc)
    operator = OPERATORS.get(doc["apiVersion"])
    try:
        if operator:
            model = getattr(operator, doc["kind"])
            model.model_validate(doc, strict=True, extra="forbid", by_alias=True, by_name=False)
        else:
            for version in KUBERNETES:
                kubernetes_validate.validate(doc, version, strict=True)
    except pydantic.ValidationError as error:
        return [f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}" for mistake in error.errors()]
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message} (Kubernetes {error.version})"]
    except (kubernetes_validate.SchemaNotFoundError, AttributeError):
        return [f"no schema for {doc['apiVersion']}"]
    return promql(doc) if doc["kind"] == "PrometheusRule" else []


def promql(rule):
    """What promtool says of the rules, where it is installed."""
    if not shutil.which("promtool"):
        print("PromQL is not checked: promtool is missing (Debian: apt-get install prometheus)")
        return []
    told = subprocess.run(
        ["promtool", "check", "rules", "/dev/stdin"], input=yaml.safe_dump(rule["spec"]), text=True, capture_output=True
    )
    return [] if told.returncode == 0 else [told.stderr.strip()]


def secrets(manifests):
    """A Secret is referred to and never written, and the README tells of it."""
    problems = [f"{where(doc)}: a Secret does not belong in the manifests" for doc in manifests.of("Secret")]
    for doc in manifests.of("ConfigMap"):
        problems += [f"{where(doc)}: {name} belongs in a Secret" for name in doc["data"] if SECRET.match(name)]
    references = [
        (where(doc), ref) for doc in manifests.of("TriggerAuthentication") for ref in doc["spec"]["secretTargetRef"]
    ]
    for workload in manifests.workloads:
        for entry in workload.entries:
            ref = entry.get("valueFrom", {}).get("secretKeyRef")
            if ref:
                references.append((workload.place, ref))
            elif SECRET.match(entry["name"]):
                problems.append(f"{workload.place}: {entry['name']} must come from a Secret")
    for place, ref in references:
        if (ref["name"], ref["key"]) not in manifests.facts.secrets:
            problems.append(f"{place}: the README does not list the key {ref['key']} of the Secret {ref['name']}")
    return problems


def references(manifests):
    """What a pod names is there, and no pod and no account mounts a token."""
    problems = []
    for workload in manifests.workloads:
        wanted = [("ConfigMap", name) for name in workload.config_maps]
        wanted.append(("ServiceAccount", workload.pod.get("serviceAccountName")))
        problems += [
            f"{workload.place}: {kind} {name} is missing" for kind, name in wanted if not manifests.find(kind, name)
        ]
    mounts = [(where(doc), doc) for doc in manifests.of("ServiceAccount")]
    mounts += [(workload.place, workload.pod) for workload in manifests.workloads]
    tokens = [place for place, spec in mounts if spec.get("automountServiceAccountToken") is not False]
    return problems + [f"{place}: a token is mounted" for place in tokens]


def settings(workload, facts):
    """Every variable is a setting that the program knows, and none that it needs is missing."""
    for name in workload.environment:
        if not facts.knows(workload.program, workload.args, name):
            yield f"{workload.program} knows no setting {name}"
    for name, (_, default) in facts.settings.items():
        if default == "required" and facts.knows(workload.program, workload.args, name):
            if name not in workload.environment:
                yield f"{name} is not set"


def probes(workload, facts):
    wanted = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for kind, path in wanted.items() if workload.doc["kind"] == "Deployment" else ():
        probe = workload.container.get(kind, {}).get("httpGet")
        if not probe:
            yield f"has no {kind}"
        elif probe["path"] != path or path not in facts.paths:
            yield f"{kind} asks {probe['path']}, not {path}"
        elif probe["port"] not in workload.ports:
            yield f"{kind}: there is no port {probe['port']}"
    for name, port in workload.ports.items():
        if not workload.settings["ADMIN_ADDR"].endswith(f":{port}"):
            yield f"port {name} is {port}, but the admin server listens on {workload.settings['ADMIN_ADDR']}"


def limits(workload, facts):
    """What has to be larger than a setting is."""
    if not workload.container["image"].endswith(f":{facts.version}"):
        yield f"image {workload.container['image']} is not of version {facts.version}"
    if facts.knows(workload.program, workload.args, "DRAIN_TIMEOUT_SECONDS"):
        drain, grace = workload.settings["DRAIN_TIMEOUT_SECONDS"], workload.pod.get("terminationGracePeriodSeconds", 30)
        if grace <= seconds(drain) + LEAVE_SECONDS:
            yield f"{grace} s of grace are too few for DRAIN_TIMEOUT_SECONDS={drain}"
    if facts.knows(workload.program, workload.args, "MEMORY_LIMIT"):
        own, limit = workload.settings["MEMORY_LIMIT"], workload.container["resources"]["limits"]["memory"]
        if size(limit) < (1 + HEADROOM) * size(own):
            yield f"a memory limit of {limit} leaves too little beside MEMORY_LIMIT={own}"


def seconds(text):
    number, unit = re.fullmatch(r"([\d.]+) *(ms|s|m|h|d)?", text).groups()
    return float(number) * {"ms": 0.001, None: 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


def size(text):
    number, prefix, binary = re.fullmatch(r"(\d+) *([KMG]?)(i?)B?", text).groups()
    return int(number) * (1024 if binary else 1000) ** " KMG".index(prefix or " ")


def hardening(workload, _facts):
    if not POD_IS_RESTRICTED.items() <= workload.pod.get("securityContext", {}).items():
        yield "its pods are not restricted"
    if workload.container.get("securityContext") != CONTAINER_IS_RESTRICTED:
        yield "its container is not restricted"
    if "memory" not in workload.container.get("resources", {}).get("limits", {}):
        yield "its container has no memory limit"


def selects(selector, labels):
    def fits(rule):
        return rule["operator"] == "In" and labels.get(rule["key"]) in rule["values"]

    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        fits(rule) for rule in selector.get("matchExpressions", [])
    )


def selectors(manifests):
    """Nobody selects nothing, and every pod with metrics is found."""
    problems = []
    finders = {"Service": [], "PodMonitor": []}
    for doc in manifests.docs:
        spec = doc.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector")
        if selector:
            selector = {"matchLabels": selector} if doc["kind"] == "Service" else selector
            finders.get(doc["kind"], []).append(selector)
            if not any(selects(selector, workload.labels) for workload in manifests.workloads):
                problems.append(f"{where(doc)}: selects no pod")
    for workload in manifests.workloads:
        if workload.doc["kind"] == "Deployment" and not selects(workload.spec["selector"], workload.labels):
            problems.append(f"{workload.place}: does not select its own pods")
        for kind, found in finders.items():
            if workload.ports and found and not any(selects(selector, workload.labels) for selector in found):
                problems.append(f"{workload.place}: no {kind} selects its pods")
    return problems


def network(manifests):
    """All is denied but what a pod's settings name, DNS, and Prometheus."""
    policies = [doc["spec"] for doc in manifests.of("NetworkPolicy")]
    problems = []
    if {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} not in policies:
        problems.append("NetworkPolicy: none denies everything")
    for workload in manifests.workloads:
        of_pod = [policy for policy in policies if selects(policy["podSelector"], workload.labels)]
        allowed = {
            way: {port["port"] for policy in of_pod for rule in policy.get(way, []) for port in rule["ports"]}
            for way in ("ingress", "egress")
        }
        if closed := outside_ports(workload) - allowed["egress"]:
            problems.append(f"{workload.place}: no NetworkPolicy lets it out to port {sorted(closed)}")
        if not set(workload.ports.values()) <= allowed["ingress"]:
            problems.append(f"{workload.place}: no NetworkPolicy lets Prometheus in")
    return problems


def outside_ports(workload):
    servers = workload.settings["KAFKA_BOOTSTRAP_SERVERS"].split(",")
    ports = {53} | {int(port) for port in re.findall(r":(\d+)$", "\n".join(servers), re.M)}
    store = workload.environment.get("AWS_ENDPOINT_URL_S3") or "https://s3"
    url = {"ingestor": workload.settings["API_URL"], "s3-sink": store}.get(workload.program)
    if url:
        scheme, port = re.match(r"(https?)://[^/:]+(?::(\d+))?", url).groups()
        ports.add(int(port or {"http": 80, "https": 443}[scheme]))
    return ports


def scheduler(manifests):
    """Exactly one thing starts runs, and one at a time."""
    starters = [workload for workload in manifests.workloads if workload.program == "ingestor"]
    if len(starters) != 1:
        return [f"ingestor: started by {[starter.place for starter in starters]}, and one must"]
    [starter] = starters
    if starter.doc["kind"] == "Deployment":
        one = starter.spec.get("replicas") == 1 and starter.spec["strategy"] == {"type": "Recreate"}
    else:
        one = starter.spec.get("concurrencyPolicy") == "Forbid"
    return [] if one else [f"{starter.place}: two runs are possible at once"]


def scaling(manifests):
    """The scaler watches what the sinks read, up to one sink a partition."""
    problems = []
    for scaled in manifests.of("ScaledObject"):
        spec = scaled["spec"]
        name = f"Deployment/{spec['scaleTargetRef']['name']}"
        target = next((workload for workload in manifests.workloads if workload.place == name), None)
        if not target:
            return [f"{where(scaled)}: its target is missing"]
        if "replicas" in target.spec:
            problems.append(f"{target.place}: has a fixed number of replicas and a scaler")
        if spec.get("maxReplicaCount") != manifests.facts.partitions:
            problems.append(f"{where(scaled)}: maxReplicaCount is not {manifests.facts.partitions}, the partitions")
        for trigger in spec["triggers"]:
            problems += [
                f"{where(scaled)}: {theirs} is not the sink's {ours}"
                for theirs, ours in SCALER_READS.items()
                if trigger["metadata"].get(theirs) != target.settings[ours]
            ]
            if not manifests.find("TriggerAuthentication", trigger["authenticationRef"]["name"]):
                problems.append(f"{where(scaled)}: its TriggerAuthentication is missing")
    return problems


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
