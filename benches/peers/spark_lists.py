"""Spark MLlib's lists for every user: loads a saved ALSModel, writes recommendForAllUsers(n) as Parquet; prints one
JSON object.

Usage: spark_lists.py MODEL OUT --n 100 --threads 2
The clock runs from the call on factors that are cached in memory to the last file written. `core_seconds` are those of
the Java process meanwhile.
"""

import argparse
import json
import os
import sys
import tempfile
import time

from pyspark.ml.recommendation import ALSModel
from pyspark.sql import SparkSession


def core_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    # utime and stime, counted from the field after the name.
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    spark = (
        SparkSession.builder.master(f"local[{arguments.threads}]")
        .config("spark.driver.memory", "8g")
        .config("spark.ui.enabled", "false")
        .config("spark.local.dir", tempfile.mkdtemp())
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    model = ALSModel.load(arguments.model)
    model.userFactors.cache().count()
    model.itemFactors.cache().count()
    java = spark.sparkContext._gateway.proc.pid
    before, started = core_seconds(java), time.perf_counter()
    model.recommendForAllUsers(arguments.n).write.parquet(arguments.out)
    seconds, cores = time.perf_counter() - started, core_seconds(java) - before
    written = spark.read.parquet(arguments.out)
    users = written.count()
    rows = written.selectExpr("sum(size(recommendations)) AS rows").first()["rows"]
    answer = {"seconds": seconds, "core_seconds": cores, "users": users, "rows": rows, "version": spark.version}
    json.dump(answer, sys.stdout)
    spark.stop()


main()
