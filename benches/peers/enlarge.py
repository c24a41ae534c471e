"""Factors of more users and items than a version has, as a folder that Spark's ALSModel.save would write; prints one JSON object.

Usage: enlarge.py VERSION_FOLDER OUT --users 2000000 --items 1000000

A row of the larger side points between two trained rows that are drawn at random, two parts of the first and one of the
second, and is as long as the first. So lengths are distributed as trained ones are, and directions lie where trained ones do.
"""

import argparse
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from versions import factors, made_alike

PARTS = 16
SECOND = 0.5


def enlarged(rows, count, seed):
    """The ids of a part and its rows, part by part."""
    directions, lengths = made_alike(rows), np.linalg.norm(rows, axis=1, keepdims=True)
    for part, ids in enumerate(np.array_split(np.arange(1, count + 1, dtype=np.int32), PARTS)):
        first, second = np.random.default_rng([seed, part]).integers(len(rows), size=(2, len(ids)))
        between = made_alike(directions[first] + SECOND * directions[second])
        yield ids, (between * lengths[first]).astype(np.float32)


def write(folder, rows, count, seed):
    os.makedirs(folder)
    for part, (ids, values) in enumerate(enlarged(rows, count, seed)):
        offsets = np.arange(0, values.size + 1, rows.shape[1], dtype=np.int32)
        features = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))
        table = pa.table({"id": pa.array(ids), "features": features})
        pq.write_table(table, os.path.join(folder, f"part-{part:05}.parquet"), use_dictionary=False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("version")
    parser.add_argument("out")
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--items", type=int, required=True)
    arguments = parser.parse_args()
    users, items = (factors(arguments.version, side) for side in ["user_factors", "item_factors"])
    write(os.path.join(arguments.out, "userFactors"), users, arguments.users, 1)
    write(os.path.join(arguments.out, "itemFactors"), items, arguments.items, 2)
    metadata = {
        "class": "org.apache.spark.ml.recommendation.ALSModel",
        "timestamp": 0,
        "sparkVersion": "4.3.0",
        "uid": "enlarged",
        "paramMap": {},
        "defaultParamMap": {"userCol": "user", "itemCol": "item", "predictionCol": "prediction"},
        "rank": items.shape[1],
    }
    os.makedirs(os.path.join(arguments.out, "metadata"))
    with open(os.path.join(arguments.out, "metadata", "part-00000"), "w") as file:
        json.dump(metadata, file)
    print(json.dumps({"users": arguments.users, "items": arguments.items, "from_items": len(items)}))


main()
