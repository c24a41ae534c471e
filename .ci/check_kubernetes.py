"""Checks what Kubernetes itself would find out only when pods run: check_kubernetes.py SHOAL

The chart is rendered with several values. Selectors have to match pods, ports and volumes to exist, Secrets to be those of the
values, addresses in settings to be those of pods, probes to be commands of the binary SHOAL, which has to take the settings too.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

import helm_python
import kubernetes_validate
import yaml

CHART = pathlib.Path(__file__).resolve().parent.parent / "deploy/helm/shoal"
RESTRICTED = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
S3 = {"uri": "s3://bucket/shoal", "options": {"aws_region": "eu-west-1"}, "credentialsSecret": "s3-keys"}
OBSERVED = {"serviceMonitor": True, "rules": True, "board": True, "labels": {"release": "prometheus"}}
VARIANTS = {
    "defaults": {},
    "S3": {"store": S3, "networkPolicy": {"store": {"ports": [9000], "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}}},
    "no certificates": {"tls": {"enabled": False}, "router": {"service": {"type": "LoadBalancer", "http": 80}}},
    "observed": {"monitoring": OBSERVED},
    "large": {
        "coordinator": {"replicas": 5, "settings": {"replicas": 3, "lease_ms": 5000}},
        "worker": {
            "replicas": 7,
            "settings": {"import_roots": ["/data", "s3://ratings/"], "serving_threads": 2},
            "volumes": [{"name": "ratings", "persistentVolumeClaim": {"claimName": "ratings", "readOnly": True}}],
            "volumeMounts": [{"name": "ratings", "mountPath": "/data", "readOnly": True}],
            "tolerations": [{"key": "memory", "operator": "Exists"}],
        },
        "router": {"replicas": 1, "settings": {"cors_origins": ["https://example.org"], "cache_entries": 0}},
        "image": {"repository": "registry.example.org/shoal", "digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/shoal"}},
        "store": {"volume": {"existingClaim": "shared"}},
    },
}
REFUSED = {
    "two coordinators": {"coordinator": {"replicas": 2}},
    "a misspelt key": {"wroker": {"replicas": 3}},
    "a misspelt key of a role": {"worker": {"replica": 3}},
    "a secret among the store's options": {"store": {"options": {"aws_secret_access_key": "x"}}},
    "a number as text": {"worker": {"replicas": "three"}},
}
# What the values name, and others make.
GIVEN = {
    "Secret": {"shoal-coordinator-certs", "shoal-worker-certs", "shoal-router-certs", "shoal-token", "s3-keys", "registry"},
    "PersistentVolumeClaim": {"ratings", "shared"},
}
CLUSTER_ROLES = ("coordinator", "worker", "router")

problems = []


def expect(holds, what):
    if not holds:
        problems.append(what)


def help_of(shoal, *command):
    return subprocess.run([shoal, *command, "--help"], capture_output=True, text=True, check=True).stdout


class Cluster:
    """The objects of one rendering."""

    def __init__(self, values, release="shoal"):
        with helm_python.Chart.load(str(CHART)) as chart:
            rendered = chart.render(values, name=release, namespace="shoal")
        texts = [text for path, text in rendered.items() if path.endswith(".yaml")]
        self.objects = [one for text in texts for one in yaml.safe_load_all(text) if one]

    def of(self, *kinds):
        return [one for one in self.objects if one["kind"] in kinds]

    def named(self, kind, name):
        return next((one for one in self.of(kind) if one["metadata"]["name"] == name), None)

    def sets(self):
        return self.of("StatefulSet", "Deployment")

    def pods(self, selector):
        """The sets whose pods have all labels of the selector."""
        wanted = selector.items()
        return [one for one in self.sets() if wanted <= one["spec"]["template"]["metadata"]["labels"].items()]


def container(of_set):
    (only,) = of_set["spec"]["template"]["spec"]["containers"]
    return only


def ports(of_set):
    return {port["name"]: port["containerPort"] for port in container(of_set)["ports"]}


def role(of_set):
    return of_set["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]


def check_selectors(cluster, variant):
    for one in cluster.sets():
        expect(cluster.pods(one["spec"]["selector"]["matchLabels"]) == [one], f"{variant}: {role(one)} selects not just its own pods")
        for spread in one["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            expect(cluster.pods(spread["labelSelector"]["matchLabels"]) == [one], f"{variant}: {role(one)} spreads other pods")
    for service in cluster.of("Service"):
        name = service["metadata"]["name"]
        chosen = cluster.pods(service["spec"]["selector"])
        expect(len(chosen) == 1, f"{variant}: the service {name} selects {len(chosen)} sets of pods")
        for port in service["spec"]["ports"]:
            expect(all(port["targetPort"] in ports(one) for one in chosen), f"{variant}: no pod of {name} has a port {port['targetPort']}")
    budgets = cluster.of("PodDisruptionBudget")
    for one in cluster.sets():
        own = [budget for budget in budgets if cluster.pods(budget["spec"]["selector"]["matchLabels"]) == [one]]
        expect(len(own) == (one["spec"]["replicas"] > 1), f"{variant}: {role(one)} has {len(own)} disruption budgets")


def check_policies(cluster, variant):
    for policy in cluster.of("NetworkPolicy"):
        name = policy["metadata"]["name"]
        chosen = cluster.pods(policy["spec"]["podSelector"]["matchLabels"])
        expect(len(chosen) == 1, f"{variant}: the policy {name} is for {len(chosen)} sets of pods")
        allowed = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        has = {port for one in chosen for port in ports(one).values()}
        expect(allowed == has, f"{variant}: the policy {name} opens {allowed}, the pods have {has}")
        # A node may call every port at which nodes listen for each other.
        outward = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        expect({7000, 7001, 8001} <= outward, f"{variant}: the policy {name} keeps nodes from each other")
    expect(len(cluster.of("NetworkPolicy")) == 3, f"{variant}: not every role has a network policy")


def check_references(cluster, variant):
    def there(kind, name):
        return cluster.named(kind, name) is not None or name in GIVEN.get(kind, ())

    for one in cluster.sets() + cluster.of("Pod"):
        pod = one["spec"]["template"]["spec"] if "template" in one["spec"] else one["spec"]
        who = one["metadata"]["name"]
        (only,) = pod["containers"]
        wanted = [("ServiceAccount", pod["serviceAccountName"])] if "serviceAccountName" in pod else []
        wanted += [("Secret", secret["name"]) for secret in pod.get("imagePullSecrets", ())]
        wanted += [("Secret", source["secretRef"]["name"]) for source in only.get("envFrom", ())]
        for volume in pod.get("volumes", ()):
            wanted += [("Secret", volume["secret"]["secretName"])] if "secret" in volume else []
            wanted += [("ConfigMap", volume["configMap"]["name"])] if "configMap" in volume else []
            claim = volume.get("persistentVolumeClaim")
            wanted += [("PersistentVolumeClaim", claim["claimName"])] if claim else []
        for kind, name in wanted:
            expect(there(kind, name), f"{variant}: {who} names the {kind} {name}, which is not there")
        volumes = {volume["name"] for volume in pod.get("volumes", ())}
        volumes |= {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", ())}
        mounted = {mount["name"] for mount in only.get("volumeMounts", ())}
        expect(mounted == volumes, f"{variant}: {who} mounts {mounted} of the volumes {volumes}")
        context, own = pod["securityContext"], only["securityContext"]
        expect(RESTRICTED.items() <= context.items(), f"{variant}: {who} is not restricted")
        expect(own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"] and own["capabilities"] == {"drop": ["ALL"]},
               f"{variant}: the container of {who} is not restricted")
    for one in cluster.of("StatefulSet"):
        service = cluster.named("Service", one["spec"]["serviceName"])
        expect(service and service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"],
               f"{variant}: {role(one)} has no service with addresses of nodes that are not ready")
        expect(one["spec"]["podManagementPolicy"] == "Parallel", f"{variant}: {role(one)} does not start in parallel")


def check_observed(cluster, variant):
    for monitor in cluster.of("ServiceMonitor"):
        selector = monitor["spec"]["selector"]
        needed = [one["key"] for one in selector["matchExpressions"]]
        chosen = [
            service for service in cluster.of("Service")
            if selector["matchLabels"].items() <= service["metadata"]["labels"].items()
            and all(key in service["metadata"]["labels"] for key in needed)
        ]
        expect(len(chosen) == 3, f"{variant}: {len(chosen)} services are observed")
        for endpoint in monitor["spec"]["endpoints"]:
            for service in chosen:
                names = {port["name"] for port in service["spec"]["ports"]}
                expect(endpoint["port"] in names, f"{variant}: the service {service['metadata']['name']} has no port {endpoint['port']}")
    for rule in cluster.of("PrometheusRule"):
        alerts = [one for group in rule["spec"]["groups"] for one in group["rules"]]
        expect(alerts and all(one["expr"] for one in alerts), f"{variant}: the rules have no alerts")
    for board in cluster.of("ConfigMap"):
        if "shoal.json" in board["data"]:
            expect(yaml.safe_load(board["data"]["shoal.json"])["panels"], f"{variant}: the board has no panels")


def check_addresses(cluster, variant):
    """Every address in the settings is that of a pod, at a port of its service."""
    texts = "\n".join(text for one in cluster.of("ConfigMap") for name, text in one["data"].items() if name.endswith(".toml"))
    found = re.findall(r'"([a-z0-9-]+)-(\d+)\.([a-z0-9-]+):(\d+)"', texts)
    expect(found, f"{variant}: the settings have no addresses")
    for name, number, service, port in found:
        one = cluster.named("StatefulSet", name)
        expect(one and 1 <= int(number) <= one["spec"]["replicas"] and one["spec"]["ordinals"] == {"start": 1},
               f"{variant}: there is no pod {name}-{number}")
        of_service = cluster.named("Service", service)
        expect(of_service and int(port) in [one["port"] for one in of_service["spec"]["ports"]],
               f"{variant}: the service {service} has no port {port}")


def check_commands(cluster, variant, shoal):
    """Roles, probes and their values are those of the binary, and it takes each role's settings."""
    commands, checks = help_of(shoal), help_of(shoal, "health")
    settings = next(one for one in cluster.of("ConfigMap") if "worker.toml" in one["data"])["data"]
    for one in cluster.sets():
        only, own = container(one), role(one)
        first, flag, path = only["args"]
        file = path.rpartition("/")[2]
        expect(first == own and re.search(rf"^  {own}\b", commands, re.MULTILINE), f"{variant}: shoal has no command {first}")
        expect(flag == "--config" and file in settings, f"{variant}: {own} has no settings {path}")
        for probe, wanted in (("startupProbe", "startup"), ("readinessProbe", "readiness"), ("livenessProbe", "liveness")):
            command = only[probe]["exec"]["command"]
            expect(command == ["/usr/bin/shoal", "health", "--config", path, "--for", wanted], f"{variant}: {own}'s {probe} is {command}")
            expect(re.search(rf"^ +- {wanted}:", checks, re.MULTILINE), f"{variant}: shoal health has no check {wanted}")
        check_settings(one, settings[file], variant, shoal)


def check_settings(one, text, variant, shoal):
    """The binary reads the settings and goes on to the certificates, or listens where there are none."""
    own = role(one)
    env = {"POD_NAME": f"shoal-{own}-1", "POD_NUMBER": "1", "POD_IP": "127.0.0.1"}
    for variable in container(one)["env"]:
        if "value" in variable:
            value = re.sub(r"\$\((\w+)\)", lambda match: env[match[1]], variable["value"])
            env[variable["name"]] = value
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "settings.toml"
        path.write_text(text)
        env |= {"SHOAL__NODE__DATA_DIR": f"{folder}/node", "SHOAL__NODE__CERTS": f"{folder}/certs"}
        command = [shoal, own, "--config", str(path), "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
        command += ["--set", 'router.http_listen="127.0.0.1:0"'] if own == "router" else []
        # A setting that is not taken is said before any file of certificates is read.
        ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        said = ended.stdout + ended.stderr
        expect(ended.returncode and f"{folder}/certs/ca.pem" in said, f"{variant}: the {own} does not take its settings: {said[-600:]}")


def main():
    shoal = str(pathlib.Path(sys.argv[1]).resolve())
    for variant, values in VARIANTS.items():
        cluster = Cluster(values)
        for one in cluster.objects:
            if one["apiVersion"].startswith("monitoring.coreos.com"):
                continue
            for version in ("1.30", "1.37"):
                try:
                    kubernetes_validate.validate(one, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    expect(False, f"{variant}: {one['kind']} {one['metadata']['name']} against {version}: {error.message}")
        check_selectors(cluster, variant)
        check_policies(cluster, variant)
        check_references(cluster, variant)
        check_observed(cluster, variant)
        check_addresses(cluster, variant)
        check_commands(cluster, variant, shoal)
    expect(len(Cluster({"monitoring": OBSERVED}).of("ServiceMonitor", "PrometheusRule")) == 2, "observed: resources are missing")
    other = Cluster({"tls": {role + "Secret": f"shoal-{role}-certs" for role in CLUSTER_ROLES}}, release="films")
    expect(all(one["metadata"]["name"].startswith("films-shoal") for one in other.sets()), "another release: names do not say it")
    check_addresses(other, "another release")
    for what, values in REFUSED.items():
        try:
            Cluster(values)
        except helm_python.HelmError:
            continue
        problems.append(f"values with {what} are not refused")
    findings = helm_python.lint(str(CHART), strict=True)
    problems.extend(findings["errors"])
    problems.extend(one["error"] for one in findings["messages"] if one["severity"] > 1)
    if problems:
        sys.exit("\n".join(problems))
    print(f"Helm {helm_python.helm_sdk_version()}: {len(VARIANTS)} sets of values, {len(REFUSED)} refused")


main()
