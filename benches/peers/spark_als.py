"""Spark MLlib's explicit ALS on given train and test files; prints one JSON object.

Usage: spark_als.py TRAIN.csv TEST.csv --rank 20 --iterations 10 --reg 0.1 --threads 2
The clock runs from `fit` on data that is already parsed and cached in memory to the fitted factors.
"""

import argparse
import json
import sys
import tempfile
import time

from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.recommendation import ALS
from pyspark.sql import SparkSession
from pyspark.sql.functions import col, greatest, least, lit
from pyspark.sql.functions import max as largest
from pyspark.sql.functions import min as smallest


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--rank", type=int, default=20)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--reg", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    spark = (
        SparkSession.builder.master(f"local[{arguments.threads}]")
        .config("spark.driver.memory", "10g")
        .config("spark.ui.enabled", "false")
        .config("spark.local.dir", tempfile.mkdtemp())
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    schema = "user INT, item INT, rating FLOAT, at LONG"

    def read(path):
        return spark.read.csv(path, header=True, schema=schema).select("user", "item", "rating")

    train = read(arguments.train).cache()
    rows = train.count()
    als = ALS(
        userCol="user",
        itemCol="item",
        ratingCol="rating",
        rank=arguments.rank,
        maxIter=arguments.iterations,
        regParam=arguments.reg,
        coldStartStrategy="drop",
        seed=42,
    )
    started = time.perf_counter()
    model = als.fit(train)
    # Factors are lazy until somebody counts them.
    model.userFactors.count()
    model.itemFactors.count()
    seconds = time.perf_counter() - started
    # Shoal's figure is of predictions kept within the scale of the ratings.
    low, high = train.select(smallest("rating"), largest("rating")).first()
    within = greatest(lit(low), least(lit(high), col("prediction")))
    predictions = model.transform(read(arguments.test)).withColumn("prediction", within)
    rmse = RegressionEvaluator(labelCol="rating", predictionCol="prediction").evaluate(predictions)
    json.dump({"rows": rows, "seconds": seconds, "rmse": rmse, "version": spark.version}, sys.stdout)
    spark.stop()


main()
