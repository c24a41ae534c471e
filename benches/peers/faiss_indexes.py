"""faiss's HNSW and IVF over the item factors of a version, tuned to a recall, called in this process; prints one JSON object.

Usage: faiss_indexes.py VERSION_FOLDER INDEX_FOLDER --recall 0.95 --rate 300 --seconds 15

Three kinds of queries, each for the best ten: `recommend`, users' factors against the items' as they were trained;
`recommend, norms alike`, the same against items that are all made equally long; `similar`, items against such items. An
index is built once and kept in INDEX_FOLDER; `--build-only` does no more than that. `--shards` takes the items of the first
shards only. A search takes the smallest of the parameters below that finds `--recall` of the exact lists of some queries; others are
measured: one after the other on one thread, and on two threads as they come at random times, `--rate` a second.
"""

import argparse
import json
import os
import queue
import threading
import time

import faiss
import numpy as np

from versions import factors, made_alike

TOP = 10
TUNING_QUERIES, MEASURED_QUERIES = 500, 2_000
HNSW_LINKS, HNSW_CONSTRUCTION = 16, 40
HNSW_SEARCHES = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096]
IVF_PROBES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
TRAINED_PER_LIST = 40


def drawn(rows, count, seed):
    """Some rows, each at most once."""
    return rows[np.random.default_rng(seed).choice(len(rows), min(count, len(rows)), replace=False)]


def hnsw(rows):
    index = faiss.IndexHNSWFlat(rows.shape[1], HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = HNSW_CONSTRUCTION
    index.add(rows)
    return index


def ivf(rows):
    lists = 1 << round(np.log2(4 * np.sqrt(len(rows))))
    coarse = faiss.IndexFlatIP(rows.shape[1])
    index = faiss.IndexIVFFlat(coarse, rows.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.own_fields = True
    coarse.this.disown()
    index.train(drawn(rows, TRAINED_PER_LIST * lists, 3))
    index.add(rows)
    return index


def set_hnsw(index, value):
    index.hnsw.efSearch = value


def set_ivf(index, value):
    index.nprobe = value


WAYS = {"hnsw": (hnsw, set_hnsw, HNSW_SEARCHES), "ivf": (ivf, set_ivf, IVF_PROBES)}


def kept(path, build, rows):
    """The index of an earlier run, or a new one, and the seconds that building took if it is new."""
    if os.path.exists(path):
        return faiss.read_index(path), None
    started = time.perf_counter()
    index = build(rows)
    seconds = time.perf_counter() - started
    faiss.write_index(index, path + ".unfinished")
    os.rename(path + ".unfinished", path)
    return index, seconds


def recall(found, exact):
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, exact)]))


def tuned(index, choose, values, queries, exact, wanted):
    """The smallest parameter that reaches the wanted recall, else the largest, and what it reaches."""
    for value in values:
        choose(index, value)
        reached = recall(index.search(queries, TOP)[1], exact)
        if reached >= wanted:
            break
    return value, reached


def seconds_of(call, count, at_least):
    """Of each of the calls, as many as fit into the time, in turn."""
    spent, at = [], 0
    begun = time.perf_counter()
    while time.perf_counter() - begun < at_least:
        started = time.perf_counter()
        call(at % count)
        spent.append(time.perf_counter() - started)
        at += 1
    return np.array(spent)


def percentiles(seconds):
    return {"p50_ms": float(np.percentile(seconds, 50) * 1e3), "p99_ms": float(np.percentile(seconds, 99) * 1e3)}


def in_open_loop(search, queries, rate, seconds, threads):
    """Latencies from when each query was due, as many threads searching as there are."""
    dues = np.cumsum(np.random.default_rng(7).exponential(1 / rate, int(rate * seconds)))
    waiting, latencies = queue.SimpleQueue(), np.zeros(len(dues))

    def work(begun):
        while (at := waiting.get()) is not None:
            search(queries[at % len(queries)][None, :])
            latencies[at] = time.perf_counter() - begun - dues[at]

    begun = time.perf_counter()
    workers = [threading.Thread(target=work, args=(begun,)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for at, due in enumerate(dues):
        time.sleep(max(0.0, begun + due - time.perf_counter()))
        waiting.put(at)
    for _ in workers:
        waiting.put(None)
    for worker in workers:
        worker.join()
    return latencies


def measured(index, queries, arguments):
    def search(query):
        return index.search(query, TOP)

    faiss.omp_set_num_threads(1)
    alone = seconds_of(lambda at: search(queries[at][None, :]), len(queries), arguments.alone_seconds)
    figures = {"per_second_on_one_core": float(1 / alone.mean()), "alone": percentiles(alone)}
    if arguments.seconds > 0:
        latencies = in_open_loop(search, queries, arguments.rate, arguments.seconds, 2)
        figures["open_loop"] = percentiles(latencies)
    faiss.omp_set_num_threads(2)
    return figures


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("version")
    parser.add_argument("folder")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--alone-seconds", type=float, default=3)
    parser.add_argument("--shards", type=int)
    parser.add_argument("--kinds", nargs="*", default=["recommend", "recommend, norms alike", "similar"])
    parser.add_argument("--indexes", dest="ways", nargs="*", default=list(WAYS))
    parser.add_argument("--build-only", action="store_true")
    return parser.parse_args()


def main():
    arguments = parse()
    os.makedirs(arguments.folder, exist_ok=True)
    faiss.omp_set_num_threads(2)
    trained = factors(arguments.version, "item_factors", arguments.shards)
    alike = made_alike(trained)
    users = factors(arguments.version, "user_factors")
    count = TUNING_QUERIES + MEASURED_QUERIES
    users, items = drawn(users, count, 1), drawn(alike, count, 2)
    cases = {
        "recommend": ("trained", trained, users),
        "recommend, norms alike": ("alike", alike, users),
        "similar": ("alike", alike, items),
    }
    answer = {"faiss": faiss.__version__, "items": len(trained), "cases": {}}
    for name in arguments.kinds:
        label, rows, queries = cases[name]
        tuning, others = queries[:TUNING_QUERIES], queries[TUNING_QUERIES:]
        if not arguments.build_only:
            flat = faiss.IndexFlatIP(rows.shape[1])
            flat.add(rows)
            exact = flat.search(tuning, TOP)[1]
            del flat
        for way in arguments.ways:
            build, choose, values = WAYS[way]
            path = os.path.join(arguments.folder, f"{way}-{label}-{len(rows)}.faiss")
            index, seconds = kept(path, build, rows)
            if seconds is not None:
                with open(path + ".json", "w") as file:
                    json.dump({"build_seconds": seconds}, file)
            if arguments.build_only:
                continue
            value, reached = tuned(index, choose, values, tuning, exact, arguments.recall)
            with open(path + ".json") as file:
                figures = json.load(file)
            figures |= {"parameter": value, "recall": reached, **measured(index, others, arguments)}
            answer["cases"].setdefault(name, {})[way] = figures
    print(json.dumps(answer))


main()
