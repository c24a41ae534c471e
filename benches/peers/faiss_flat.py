"""faiss's IndexFlatIP on one thread: top 10 of one query at a time, and of batches; prints one JSON object.

Usage: faiss_flat.py ROWS.f32 QUERIES.f32 --rank 64 --batch 64
Both files are row-major numbers as the machine keeps them.
"""

import argparse
import json
import time

import faiss
import numpy as np

TOP = 10


def seconds(call, at_least):
    """Of one call: the median of five averages."""
    figures = []
    for _ in range(5):
        started, calls = time.perf_counter(), 0
        while time.perf_counter() - started < at_least:
            call(calls)
            calls += 1
        figures.append((time.perf_counter() - started) / calls)
    return float(np.median(figures))


parser = argparse.ArgumentParser()
parser.add_argument("rows")
parser.add_argument("queries")
parser.add_argument("--rank", type=int, default=64)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--seconds", type=float, default=0.4)
arguments = parser.parse_args()
faiss.omp_set_num_threads(1)
rows = np.fromfile(arguments.rows, dtype=np.float32).reshape(-1, arguments.rank)
queries = np.fromfile(arguments.queries, dtype=np.float32).reshape(-1, arguments.rank)
index = faiss.IndexFlatIP(arguments.rank)
index.add(rows)
batch = queries[: arguments.batch]
index.search(batch, TOP)
single = seconds(lambda at: index.search(queries[at % len(queries)][None, :], TOP), arguments.seconds)
together = seconds(lambda _: index.search(batch, TOP), arguments.seconds)
print(json.dumps({"single": 1 / single, "batch": len(batch) / together, "faiss": faiss.__version__}))
