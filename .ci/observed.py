"""A cluster under traffic that loses a worker, and a Prometheus that reads it: every panel of the board has data, every alert's
metrics exist, and the alerts of the loss come up. Usage: observed.py SHOAL FOLDER"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

SHOAL, FOLDER = os.path.abspath(sys.argv[1]), Path(sys.argv[2]).absolute()
DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
# Everything that has to come up does so within this, however busy the machine is.
PATIENCE_S = 120
# What Grafana would put for $__rate_interval.
WINDOW = "30s"


def fail(message):
    sys.exit(f"observed: {message}")


def eventually(what, look):
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > give_up_at:
            fail(f"waited in vain: {what}")
        time.sleep(0.5)


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


class Prometheus:
    """A server of its own, which reads the nodes every second."""

    def __init__(self, targets):
        folder = FOLDER / "prometheus"
        (folder / "targets").mkdir(parents=True)
        shutil.copy(DEPLOY / "prometheus/alerts.yml", folder)
        config = (DEPLOY / "prometheus/prometheus.yml").read_text()
        (folder / "prometheus.yml").write_text(re.sub(r"_interval: \d+s", "_interval: 1s", config))
        # JSON is YAML.
        (folder / "targets/nodes.yml").write_text(json.dumps([{"targets": targets}]))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = open(folder / "log", "w")
        arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        arguments.append(f"--web.listen-address=127.0.0.1:{port}")
        self.process = subprocess.Popen(["prometheus", *arguments], stdout=self.log, stderr=self.log)

    def ask(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        try:
            return json.loads(get(f"{self.url}/api/v1/{path}?{query}"))["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                # It has not read its own disk yet.
                return None
            fail(f"Prometheus refuses {parameters}: {error.read().decode()}")
        except OSError:
            # It has not started yet, or ends.
            return None

    def query(self, expression):
        answer = self.ask("query", query=expression)
        return answer["result"] if answer else []

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def free_port():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def start_cluster():
    arguments = ["quickstart", "--dir", str(FOLDER / "cluster"), "--http", "127.0.0.1:0", "--json"]
    settings = ["node.metrics_listen=127.0.0.1:0", "coordinator.lease_ms=2000", "router.timeout_ms=5000"]
    arguments += [part for setting in settings for part in ("--set", setting)]
    output, log = open(FOLDER / "quickstart.json", "w"), open(FOLDER / "quickstart.log", "w")
    return subprocess.Popen([SHOAL, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=log)


def nodes():
    """Name, role and metrics address of each node, and its process."""
    found = {}
    for path in (FOLDER / "cluster").glob("*/addresses.json"):
        addresses = json.loads(path.read_text())
        found[path.parent.name] = (addresses["metrics"], addresses["pid"])
    return found


def check_metrics(found):
    """Conventions, and how many series a node of each role has."""
    for name in ("coordinator-1", "worker-1", "router-1"):
        text = get(f"http://{found[name][0]}/metrics").decode()
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
        if checked.returncode != 0 or checked.stdout or checked.stderr:
            fail(f"promtool complains about {name}:\n{checked.stdout}{checked.stderr}")
        series = sum(1 for line in text.splitlines() if line and not line.startswith("#"))
        print(f"{name}: {series} series, and promtool has nothing to say")


def expressions():
    """Every query of the board, by its panel."""
    board = json.loads((DEPLOY / "grafana/shoal.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$__rate_interval", WINDOW)


def check_board(prometheus):
    count = 0
    for title, expression in expressions():
        eventually(f"data for the panel '{title}': {expression}", lambda: prometheus.query(expression))
        count += 1
    print(f"{count} queries of the board have data")


def check_alerts(prometheus):
    """Every rule is evaluated without an error, and each metric in it is there."""
    rules = eventually("rules", lambda: prometheus.ask("rules"))
    rules = [rule for group in rules["groups"] for rule in group["rules"]]
    known = set(eventually("names of metrics", lambda: prometheus.ask("label/__name__/values")))
    for rule in rules:
        if rule["health"] not in ("ok", "unknown"):
            fail(f"{rule['name']}: {rule.get('lastError')}")
        missing = set(re.findall(r"\b(?:shoal|process)_\w+", rule["query"])) - known
        if missing:
            fail(f"{rule['name']} asks for metrics that no node has: {', '.join(sorted(missing))}")
    print(f"{len(rules)} alerts ask for what there is")


def is_up(prometheus, name):
    return any(alert["labels"]["alertname"] == name for alert in (prometheus.ask("alerts") or {"alerts": []})["alerts"])


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    cluster = start_cluster()
    prometheus, stopped = None, None
    try:
        def ready():
            if cluster.poll() is not None:
                fail(f"the cluster ended: {(FOLDER / 'quickstart.log').read_text()}")
            return (FOLDER / "quickstart.json").read_text().strip()

        eventually("the quick start is done", ready)
        found = nodes()
        check_metrics(found)
        prometheus = Prometheus([address for address, _ in found.values()])
        eventually("every node is read", lambda: len(prometheus.query("up == 1")) == len(found))
        # A training and its end are seen as changes of what there was before.
        dataset = json.loads((FOLDER / "quickstart.json").read_text())["dataset"]["name"]
        trained = ["train", "--dir", str(FOLDER / "cluster"), "--dataset", dataset, "--models", "als", "--force"]
        subprocess.run([SHOAL, *trained], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        traffic = ["simulate", "--dir", str(FOLDER / "cluster"), "--rate", "40", "--duration", "25", "--logs", str(FOLDER / "logs")]
        traffic = subprocess.Popen([SHOAL, *traffic], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(5)
        # It hangs rather than ends: whoever runs the cluster would start it again at once.
        stopped = found["worker-2"][1]
        os.kill(stopped, signal.SIGSTOP)
        for alert in ("ShoalNodeDown", "ShoalShardsUnderReplicated", "ShoalTargetMissing"):
            eventually(f"{alert} comes up", lambda: is_up(prometheus, alert))
        print("the alerts of a lost worker come up")
        check_board(prometheus)
        check_alerts(prometheus)
        traffic.wait()
        if traffic.returncode not in (0, 1):
            fail(f"the traffic ended with {traffic.returncode}")
        os.kill(stopped, signal.SIGCONT)
        stopped = None
        eventually("the alerts are gone", lambda: not is_up(prometheus, "ShoalShardsUnderReplicated"))
        print("they are gone when it is back")
    finally:
        if stopped:
            os.kill(stopped, signal.SIGCONT)
        if prometheus:
            prometheus.stop()
        cluster.send_signal(signal.SIGINT)
        cluster.wait()


main()
