"""Makes a folder of golden files: a small cluster's store and registry as a build of Shoal writes them, and its answers.

    python3 cluster/tests/golden/make.py target/release/shoal cluster/tests/golden/v2

The data is imported from /tmp/shoal-golden, because a data set remembers where it was read from. Python 3 is enough.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

DATA = Path(__file__).parent / "data"
PLACE = Path("/tmp/shoal-golden")
CLUSTER = PLACE / "cluster"
MODELS = ["als", "item_cf", "content", "hybrid"]
SMALL = ["--rank", "8", "--iterations", "4", "--min-common-users", "2", "--neighbours", "12", "--user-ratings-max", "50"]
USERS = ["ada", "o'neill, jr", "a/b", "007", "zoë", "nobody at all"]
ITEMS = [3, 22, 25, 9007199254740993]
SESSION = {"items": [{"movie_id": 21, "rating": 5}, {"movie_id": 41, "rating": 1}, {"movie_id": 33}]}
# What an answer says of the moment at which it was given.
OF_THE_MOMENT = ["timestamp", "next_cursor"]


def shoal(binary, *arguments):
    finished = subprocess.run([binary, *arguments, "--dir", CLUSTER], stdout=subprocess.PIPE, text=True, check=True)
    print(" ".join(["shoal", *map(str, arguments)]))
    return finished.stdout


def start(binary):
    """A running cluster and its address."""
    shape = ["--coordinators", "1", "--workers", "1", "--http", "127.0.0.1:0"]
    # Frequent snapshots: what the first commands did lies in a snapshot then, and what the last ones did in the log.
    settings = ["--set", "coordinator.snapshot_every_entries=16"]
    up = subprocess.Popen([binary, "up", "--dir", CLUSTER, *shape, *settings], stdout=subprocess.PIPE, text=True)
    for line in up.stdout:
        found = re.search(r"http://\S+", line)
        address = found.group() if found else None
        if address:
            return up, address
    raise SystemExit("the cluster did not come up")


def stop(up):
    up.send_signal(signal.SIGINT)
    up.wait()


def ask(address, path, body=None):
    """A question with its answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request) as reply:
            status, answer = reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        status, answer = error.code, json.load(error)
    for name in OF_THE_MOMENT:
        answer.pop(name, None)
    return {"path": path, "body": body, "status": status, "answer": answer}


def questions(address):
    """Everything that is asked of the films."""
    for model in MODELS:
        for user in USERS:
            user_id = urllib.parse.quote(user, safe="")
            always = f"model={model}&use_cache=false&complete=true"
            yield ask(address, f"/recommendations/recommend/{user_id}?n=6&{always}")
            yield ask(address, f"/recommendations/recommend/{user_id}?n=6&rank_by=rating&explain=true&{always}")
            for item in ITEMS[:2]:
                body = {"user_id": user, "movie_id": item}
                yield ask(address, f"/recommendations/predict?model={model}", body)
        for item in ITEMS:
            yield ask(address, f"/recommendations/similar/{item}?n=6&model={model}&complete=true")
        yield ask(address, f"/recommendations/recommend?n=6&model={model}&complete=true", SESSION)
        yield ask(address, f"/recommendations/batch?n=4&model={model}&complete=true", {"user_ids": USERS[:3]})
    yield ask(address, "/recommendations/recommend/elif?genres=drama,horror&year_max=1990&use_cache=false")
    yield ask(address, "/recommendations/popular?n=6")
    yield ask(address, "/recommendations/popular?n=6&order=trending")


def clicks(address):
    """What is asked of the clicks, whose items are texts."""
    for user in [1, -5, 9223372036854775807]:
        yield ask(address, f"/recommendations/recommend/{user}?n=5&model=item_cf&use_cache=false&complete=true")
        yield ask(address, f"/recommendations/recommend/{user}?n=5&model=als&use_cache=false&complete=true")
    for item in ["tea/green", "mug, large", "Öl"]:
        path = urllib.parse.quote(item, safe="")
        yield ask(address, f"/recommendations/similar/{path}?n=5&model=item_cf&complete=true")


def write(path, lists):
    """Writes lists by name, an element a line."""
    text = lambda value: json.dumps(value, ensure_ascii=False)
    lists = (f"{text(name)}: [\n" + ",\n".join(map(text, values)) + "\n]" for name, values in lists.items())
    path.write_text("{" + ",\n".join(lists) + "}\n", encoding="utf-8")


def cut(path):
    """A log file without the zeros that were allocated ahead."""
    # The last record may end in zeros of its own, a few.
    path.write_bytes(path.read_bytes().rstrip(b"\0") + bytes(64))


def keep(out):
    """The files that a later build starts from. Addresses, locks, logs and caches are made anew at each start."""
    without = shutil.ignore_patterns("staging", "checkpoints", ".*", "LOCK")
    for folder in ["store", "coordinator-1/raft"]:
        shutil.copytree(CLUSTER / folder, out / folder, symlinks=True, ignore=without)
    for log in (out / "coordinator-1" / "raft" / "log").iterdir():
        cut(log)
    shutil.copy(CLUSTER / "cluster.json", out)
    shutil.copy(CLUSTER / "settings.toml", out)


def use(binary, address):
    """Imports, trains and promotes. What the registry says then, and the answers."""
    shoal(binary, "dataset", "import", PLACE / "data" / "clicks.csv", "--no-rating", "--shards", "3")
    shoal(binary, "train", "--models", "als,item_cf", *SMALL, "--promote")
    of_clicks = list(clicks(address))
    shoal(binary, "dataset", "import", PLACE / "data" / "films", "--shards", "4")
    shoal(binary, "train", *SMALL, "--promote")
    lists = {"datasets": "dataset", "models": "models", "jobs": "jobs"}
    registry = {name: json.loads(shoal(binary, command, "list", "--json")) for name, command in lists.items()}
    return registry, {"films": list(questions(address)), "clicks": of_clicks}


def main():
    binary, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    if out.exists():
        raise SystemExit(f"{out} is there already; golden files are never changed")
    shutil.rmtree(PLACE, ignore_errors=True)
    shutil.copytree(DATA, PLACE / "data")
    up, address = start(binary)
    try:
        registry, answers = use(binary, address)
    finally:
        stop(up)
    out.mkdir(parents=True)
    keep(out)
    write(out / "registry.json", registry)
    write(out / "answers.json", answers)
    shutil.rmtree(PLACE)


main()
