"""Runs the pods of the chart as containers, as a kubelet would: kubernetes_pods.py IMAGE SHOAL RATINGS FOLDER

Every pod has its settings, Secrets, volumes with the group of fsGroup, user, read-only root, capabilities and limits, and the
names of its services; its own probes say how it is. The cluster has to train and answer, and the pod of `helm test` to pass.
"""

import base64
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import helm_python
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
NETWORK = "shoal-pods"
PATIENCE = 120

image, shoal, ratings, folder = sys.argv[1], sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4])
VALUES = {
    "image": {"repository": image.partition(":")[0], "tag": image.partition(":")[2]},
    "worker": {
        "settings": {"import_roots": ["/data"]},
        "volumes": [{"name": "ratings", "hostPath": {"path": ratings}}],
        "volumeMounts": [{"name": "ratings", "mountPath": "/data", "readOnly": True}],
    },
}
UNITS = {"Mi": "m", "Gi": "g"}


def docker(*words, check=True):
    ended = subprocess.run(["docker", *words], capture_output=True, text=True)
    if check and ended.returncode:
        sys.exit(f"docker {' '.join(words)}: {ended.stderr.strip() or ended.stdout.strip()}")
    return ended


def objects():
    with helm_python.Chart.load(str(ROOT / "deploy/helm/shoal")) as chart:
        rendered = chart.render(VALUES, name="shoal", namespace="shoal")
    found = [one for path, text in rendered.items() if path.endswith(".yaml") for one in yaml.safe_load_all(text) if one]
    made = subprocess.run(
        [ROOT / "deploy/kubernetes/secrets", "--out", folder / "kept"], env=os.environ | {"SHOAL": shoal}, capture_output=True, text=True
    )
    if made.returncode:
        sys.exit(made.stderr)
    return {(one["kind"], one["metadata"]["name"]): one for one in found + [one for one in yaml.safe_load_all(made.stdout) if one]}


class Pods:
    """The pods of a rendering and what they mount."""

    def __init__(self):
        self.objects = objects()
        docker("network", "create", NETWORK)

    def files(self, kind, name, mode):
        """A Secret's or ConfigMap's files, as the group of fsGroup reads them."""
        place = folder / kind / name
        if place.exists():
            # Pods that run read them.
            return place
        place.mkdir(parents=True)
        for key, value in self.objects[kind, name]["data"].items():
            (place / key).write_bytes(base64.b64decode(value) if kind == "Secret" else value.encode())
            os.chown(place / key, 0, 65532)
            os.chmod(place / key, mode)
        return place

    @staticmethod
    def directory(*parts):
        """A volume, which root owns and the group of fsGroup may write to."""
        place = folder.joinpath(*parts)
        place.mkdir(parents=True, exist_ok=True)
        os.chown(place, 0, 65532)
        os.chmod(place, 0o2775)
        return place

    def volume(self, volume, pod):
        if "secret" in volume:
            return self.files("Secret", volume["secret"]["secretName"], volume["secret"]["defaultMode"])
        if "configMap" in volume:
            return self.files("ConfigMap", volume["configMap"]["name"], 0o644)
        if "persistentVolumeClaim" in volume:
            return self.directory("claims", volume["persistentVolumeClaim"]["claimName"])
        if "hostPath" in volume:
            return pathlib.Path(volume["hostPath"]["path"])
        return self.directory("empty", pod, volume["name"])

    def names(self, labels, pod):
        """What services call the pod."""
        found = []
        for (kind, name), service in self.objects.items():
            if kind == "Service" and service["spec"]["selector"].items() <= labels.items():
                found.append(f"{pod}.{name}" if service["spec"].get("clusterIP") == "None" else name)
        return found

    def run(self, pod, template, index=None, claims=()):
        spec, labels = template["spec"], dict(template["metadata"]["labels"])
        (only,) = spec["containers"]
        context, own = spec["securityContext"], only["securityContext"]
        words = ["run", "--detach", "--name", pod, "--hostname", pod, "--network", NETWORK]
        words += ["--user", f"{context['runAsUser']}:{context['runAsGroup']}", "--group-add", str(context["fsGroup"])]
        words += [f"--cap-drop={capability}" for capability in own["capabilities"]["drop"]]
        words += ["--read-only"] if own["readOnlyRootFilesystem"] else []
        words += [] if own["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges"]
        if memory := only.get("resources", {}).get("limits", {}).get("memory"):
            words += ["--memory", re.sub("[MG]i", lambda unit: UNITS[unit[0]], memory)]
        for name in self.names(labels, pod):
            words += ["--network-alias", name]
        fields = {"metadata.name": pod, "metadata.labels['apps.kubernetes.io/pod-index']": str(index)}
        known = {}
        for variable in only.get("env", ()):
            value = variable.get("value")
            known[variable["name"]] = (
                fields[variable["valueFrom"]["fieldRef"]["fieldPath"]] if value is None
                else re.sub(r"\$\((\w+)\)", lambda match: known[match[1]], value)
            )
            words += ["--env", f"{variable['name']}={known[variable['name']]}"]
        volumes = {volume["name"]: self.volume(volume, pod) for volume in spec.get("volumes", ())}
        volumes |= {claim["metadata"]["name"]: self.directory("claims", pod, claim["metadata"]["name"]) for claim in claims}
        for mount in only.get("volumeMounts", ()):
            mode = ":ro" if mount.get("readOnly") else ""
            words += ["--volume", f"{volumes[mount['name']]}:{mount['mountPath']}{mode}"]
        # The label is there so that the step can remove what a failure leaves.
        docker(*words, "--label", "shoal-pods", only["image"], *only["args"])
        return only


def wait(pod, container, probe):
    """Asks the pod's own probe until it passes."""
    command, until = container[probe]["exec"]["command"], time.monotonic() + PATIENCE
    while (ended := docker("exec", pod, *command, check=False)).returncode:
        if time.monotonic() > until:
            logs = docker("logs", "--tail", "5", pod, check=False)
            sys.exit(f"the {probe} of {pod} does not pass: {ended.stdout}{ended.stderr}\n{logs.stdout}{logs.stderr}")
        time.sleep(0.5)


def main():
    pods, started = Pods(), {}
    for (kind, name), one in pods.objects.items():
        if kind == "StatefulSet":
            first = one["spec"]["ordinals"]["start"]
            for index in range(first, first + one["spec"]["replicas"]):
                claims = one["spec"].get("volumeClaimTemplates", ())
                pod = f"{name}-{index}"
                started[pod] = pods.run(pod, one["spec"]["template"], index, claims)
    for probe in ("startupProbe", "livenessProbe"):
        for pod, container in started.items():
            wait(pod, container, probe)
    print(f"    {len(started)} pods have started and are alive")
    for pod, container in started.items():
        if "router" not in pod:
            wait(pod, container, "readinessProbe")

    # As in `kubectl exec shoal-coordinator-1 -- shoal …`.
    def run(*words):
        return docker("exec", "shoal-coordinator-1", "shoal", *words).stdout

    run("dataset", "import", "file:///data/small", "--name", "small")
    run("train", "--dataset", "small", "--models", "als", "--iterations", "3", "--rank", "8", "--promote")
    for pod, container in started.items():
        wait(pod, container, "readinessProbe")
    answer = json.loads(run("recommend", "1", "-n", "3", "--json"))
    if answer["source"] != "model" or len(answer["items"]) != 3:
        sys.exit(f"the answer is no list of the model: {answer}")
    for (kind, name), one in pods.objects.items():
        if kind == "Pod":
            pods.run(name, {"metadata": one["metadata"], "spec": one["spec"]})
            if (code := docker("wait", name).stdout.strip()) != "0":
                sys.exit(f"the pod of `helm test` ended with {code}: {docker('logs', name).stdout}")
    print(f"    all are ready, {answer['model_version']} answers by the service's name, and the pod of `helm test` passes")
    docker("rm", "--force", *docker("ps", "--all", "--quiet", "--filter", "label=shoal-pods").stdout.split())
    docker("network", "rm", NETWORK)


main()
