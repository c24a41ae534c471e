"""How fast polars and pyarrow read a ratings file; prints one JSON object.

Usage: read_csv.py RATINGS.csv --threads 2
Reading alone: no shards, no sorting, nothing written.
"""

import argparse
import json
import os
import sys
import time


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ratings")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    os.environ["POLARS_MAX_THREADS"] = str(arguments.threads)

    import polars
    import pyarrow
    import pyarrow.csv

    pyarrow.set_cpu_count(arguments.threads)
    size = os.path.getsize(arguments.ratings)
    seconds = {}
    started = time.perf_counter()
    polars.read_csv(arguments.ratings)
    seconds["polars"] = time.perf_counter() - started
    started = time.perf_counter()
    pyarrow.csv.read_csv(arguments.ratings)
    seconds["pyarrow"] = time.perf_counter() - started
    json.dump({"bytes": size, "seconds": seconds}, sys.stdout)


main()
