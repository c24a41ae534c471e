"""The whole road over an S3 store: import, train, promote, serve, a restart with wiped disks, `shoal serve`, and a while
without the server.

Usage: check_s3.py SHOAL MOTO_SERVER PYTHON_WITH_PYARROW WORK. The server is moto's, with its data in its memory: it is frozen and thawed,
never restarted.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request

shoal, moto, pyarrow = sys.argv[1:4]
work = pathlib.Path(sys.argv[4])
work.mkdir(parents=True, exist_ok=True)
SECRET = "no-log-may-have-this"
STORE = "s3://films/shoal"
started = []


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


endpoint = f"http://127.0.0.1:{free_port()}"
# What gives keys is set here alone; the rest are options.
environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
environment |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET, "HOME": str(work)}
options = ["--store-option", f"endpoint={endpoint}", "--store-option", "allow_http=true"]


def say(text):
    print(f"s3 {time.monotonic() - begin:6.1f} s: {text}", flush=True)


def start(name, *command):
    """Starts a process whose output goes to files of this name."""
    out, errors = open(work / f"{name}.out", "w"), open(work / f"{name}.err", "w")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=environment)
    started.append(process)
    return process


def read(name):
    return (work / name).read_text(errors="replace")


def run(*arguments, exits=0):
    done = subprocess.run([shoal, *arguments], capture_output=True, text=True, env=environment, timeout=120)
    if done.returncode != exits:
        sys.exit(f"shoal {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def until(what, look, patience=60):
    """What `look` gives once it gives something."""
    give_up_at = time.monotonic() + patience
    while time.monotonic() < give_up_at:
        if found := look():
            return found
        time.sleep(0.05)
    sys.exit(f"not within {patience} s: {what}")


def expect(what, holds):
    if not holds:
        sys.exit(f"it does not hold: {what}")


def put(path, body=b""):
    headers = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{endpoint}/{path}", data=body, method="PUT", headers=headers)
    return urllib.request.urlopen(request, timeout=20).status


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    started.remove(process)


def up(name):
    process = start(name, shoal, "up", "--dir", str(work / "cluster"), "--http", "127.0.0.1:0", *up_flags)
    until("the cluster is up", lambda: "Ctrl-C" in read(f"{name}.out") or process.poll() is not None)
    return process, next(word for word in read(f"{name}.out").split() if word.startswith("http://"))


def here(*arguments):
    return run(*arguments, "--dir", str(work / "cluster"))


def recommended(url):
    # Without what is not loaded yet an answer would be another.
    answer = get(f"{url}/v1/users/1/recommendations?n=5&use_cache=false&complete=true")
    return answer["model_version"], [(item["item_id"], item["score"]) for item in answer["items"]]


def answers(url, wanted=None):
    """The answer, once there is one, or this one."""
    last = None

    def ask():
        nonlocal last
        try:
            last = recommended(url)
        except OSError as error:
            last = error
            return None
        return last if wanted in (None, last) else None

    give_up_at = time.monotonic() + 60
    while not ask():
        if time.monotonic() > give_up_at:
            sys.exit(f"{url} does not answer {wanted or 'anything'}, but {last}")
        time.sleep(0.1)
    return last


def road():
    server = start("moto", moto, "-H", "127.0.0.1", "-p", endpoint.rsplit(":", 1)[1])

    def bucket():
        try:
            return put("films") == 200
        except OSError:
            return False
    until("the server answers", bucket)

    # Options that are none, and secrets on a command line.
    refusal = run("serve", STORE, "--store-option", "regoin=x", exits=2).stderr
    expect(f"the option that was meant is named: {refusal}", "'region'" in refusal)
    refusal = run("serve", STORE, "--store-option", f"secret_access_key={SECRET}", exits=2).stderr
    expect(f"the remedy is named: {refusal}", "secret_access_key_file" in refusal and SECRET not in refusal)

    data = work / "data"
    run("dataset", "generate", "--out", str(data), "--users", "300", "--items", "200", "--ratings", "9000")
    to_parquet = "import sys, pyarrow.csv as c, pyarrow.parquet as p; p.write_table(c.read_csv(sys.argv[1]), sys.argv[2])"
    subprocess.run([pyarrow, "-c", to_parquet, data / "ratings.csv", data / "ratings.parquet"], check=True)
    # One shard of them is an object of more than 16 MiB.
    large = work / "large"
    large.mkdir()
    with open(large / "ratings.csv", "w") as file:
        file.write("userId,movieId,rating\n")
        for user in range(1, 3001):
            file.write("".join(f"{user},{1 + (user * 7 + place) % 2000},{1 + place % 5}\n" for place in range(800)))
    for source, name in [(data, "ratings.csv"), (data, "movies.csv"), (data, "ratings.parquet"), (large, "ratings.csv")]:
        expect(f"{name} is put", put(f"films/{source.name}/{name}", (source / name).read_bytes()) == 200)
    say("the server has the files")

    cluster, url = up("first")
    csv = json.loads(here("dataset", "import", "s3://films/data/ratings.csv", "--with-neighbours", "--name", "csv", "--json").stdout)
    parquet = json.loads(here("dataset", "import", "s3://films/data/ratings.parquet", "--name", "parquet", "--json").stdout)
    expect("both have every rating", csv["dataset"]["ratings"] == parquet["dataset"]["ratings"] == 9000)
    say("CSV and Parquet are imported")
    before = read("moto.err").count("?uploads")
    here("dataset", "import", "s3://films/large/ratings.csv", "--name", "large", "--shards", "1")
    expect("a large object went in parts", read("moto.err").count("?uploads") > before)
    say("2,400,000 ratings are imported, in parts")
    here("train", "--dataset", "csv", "--models", "als", "--iterations", "3", "--promote")
    first = answers(url)
    say(f"{first[0]} answers")
    for version in json.loads(here("models", "list", "--json").stdout):
        here("models", "verify", version["name"])

    # The disks of the workers are lost.
    stop(cluster)
    for disk in (work / "cluster").glob("worker-*"):
        subprocess.run(["rm", "-rf", disk], check=True)
    cluster, url = up("second")
    answers(url, first)
    say("the same answer after a restart with wiped disks")

    # Trained and not promoted: `serve` serves what is live.
    here("train", "--dataset", "csv", "--models", "als", "--iterations", "2", "--seed", "7")
    serving = start("serve", shoal, "serve", STORE, "--http", "127.0.0.1:0", *options)
    until("serve answers", lambda: "Ready after" in read("serve.out") or serving.poll() is not None)
    served = next((word for word in read("serve.out").split() if word.startswith("http://")), None)
    expect(f"it serves: {read('serve.err')}", served)
    answers(served, first)
    stop(serving)
    say("shoal serve answers from the bucket, from what was promoted")

    outage(server, url, first)
    stop(cluster)
    for folder, pattern in [(work, "*.err"), (work, "*.out"), (work / "cluster", "**/*.log"), (work / "cluster", "**/*.toml")]:
        for file in folder.glob(pattern):
            expect(f"no secret in {file}", SECRET not in file.read_text(errors="replace"))
    unusable()


def outage(server, url, first):
    """The server says nothing while a training goes on."""
    detached = here("train", "--dataset", "csv", "--models", "als", "--iterations", "40", "--seed", "9", "--detach", "--json")
    job = json.loads(detached.stdout)["job_id"]

    def shown():
        return json.loads(here("jobs", "show", job, "--json").stdout)
    until("the training has done sweeps", lambda: len(shown()["sweeps"]) > 2)
    server.send_signal(signal.SIGSTOP)
    frozen_at = time.monotonic()
    phase = until("the progress says what the training waits for", lambda: "store has not answered" in shown()["phase"] and shown()["phase"])
    said_after = time.monotonic() - frozen_at
    expect("queries are answered meanwhile", recommended(url) == first)
    log = "".join(file.read_text() for file in (work / "cluster" / "logs").glob("*.log"))
    expect("a log says it too", "the store does not answer" in log or "jobs wait" in log)
    time.sleep(max(0.0, frozen_at + 12 - time.monotonic()))
    state = shown()["state"]
    expect(f"the training waits: {state}", state == "running")
    server.send_signal(signal.SIGCONT)
    until("the training goes on", lambda: "store has not answered" not in shown()["phase"])
    ended = until("the training is over", lambda: shown()["state"] not in ("running", "queued") and shown(), 120)
    expect(f"it has succeeded: {ended}", ended["state"] == "succeeded")
    expect("it took one attempt", ended["attempt"] == 1)
    say(f"a training said after {said_after:.1f} s \"{phase}\", and went on after 12 s")


def unusable():
    """A worker whose bucket is not there is not ready, and says why."""
    address = f"127.0.0.1:{free_port()}"
    fixed = ["--cluster-id", "c", "--name", "w", "--listen", address, "--data-dir", str(work / "w"), "--coordinators", "127.0.0.1:1"]
    worker = start("worker", shoal, "worker", *fixed, "--store", "s3://nowhere/x", *options)
    until("the log says why", lambda: "cannot use its store" in read("worker.err") + read("worker.out"))
    reason = run("health", "--node", address, exits=1).stdout
    expect(f"health says why: {reason}", "s3://nowhere/x" in reason)
    stop(worker)
    say("a worker without a bucket is not ready, and says why")


begin = time.monotonic()
up_flags = ["--coordinators", "1", "--workers", "2", "--set", f"node.store={STORE}", *options]
try:
    road()
finally:
    for process in started:
        # Thawed, so that it can end.
        for sent in (signal.SIGCONT, signal.SIGTERM):
            process.send_signal(sent)
    for process in started:
        process.wait(timeout=60)
