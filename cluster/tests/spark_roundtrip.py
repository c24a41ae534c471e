"""Takes a model from the real Spark to Shoal and one back, and compares every prediction.

Usage: spark_roundtrip.py SHOAL DATA WORK

SHOAL is the built binary, DATA a folder with ratings.csv in MovieLens' layout (such as ml-latest-small), WORK a
folder to work in that is not there yet. Needs pyspark with its Java: benches/peers/setup.sh makes such an
environment. Takes one to two minutes, most of it Spark's.
"""

import csv
import json
import pathlib
import subprocess
import sys
import time
import urllib.request

from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.ml.tuning import ParamGridBuilder, TrainValidationSplit
from pyspark.sql import SparkSession

# Relative to the larger of a prediction and 1: both add in f32, in another order.
TOLERANCE = 2e-5
# Every so many ratings one is asked for.
EVERY = 251
WAIT_SECONDS = 60


class Cluster:
    """A cluster of child processes, with one router."""

    def __init__(self, shoal, work):
        self.shoal, self.dir = shoal, work / "cluster"
        self.log = open(work / "up.txt", "w", encoding="utf-8")
        up = ["up", "--dir", self.dir, "--http", "127.0.0.1:0", "--workers", "2", "--coordinators", "1"]
        self.process = subprocess.Popen([shoal, *up], stdout=self.log, stderr=self.log)
        give_up_at = time.monotonic() + WAIT_SECONDS
        while not (words := [word for word in self.printed() if word.startswith("http://")]):
            assert time.monotonic() < give_up_at and self.process.poll() is None, self.printed()
            time.sleep(0.1)
        self.url = words[0].rstrip("/")

    def printed(self):
        return pathlib.Path(self.log.name).read_text(encoding="utf-8").split()

    def run(self, *arguments):
        command = [self.shoal, *map(str, arguments), "--json", "--dir", str(self.dir)]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    def predict(self, user, movie):
        body = json.dumps({"user_id": user, "movie_id": movie}).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/recommendations/predict", body, headers)
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)["predicted_rating"]

    def recommend(self, user, query):
        with urllib.request.urlopen(f"{self.url}/recommendations/recommend/{user}?{query}", timeout=30) as reply:
            return json.load(reply)

    def stop(self):
        self.process.terminate()
        self.process.wait(WAIT_SECONDS)


def spark_session(work):
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.local.dir", str(work / "spark"))
        .config("spark.sql.shuffle.partitions", "4")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def predictions(model, ratings):
    """By user and movie; pairs that the model does not know are left out."""
    rows = model.transform(ratings).na.drop().collect()
    return {(row.user, row.item): row.prediction for row in rows}


def compare(what, found, expected):
    assert expected, f"{what}: there is nothing to compare"
    assert found.keys() == expected.keys(), f"{what}: other pairs are known"
    worst = max(abs(found[pair] - value) / max(1.0, abs(value)) for pair, value in expected.items())
    assert worst <= TOLERANCE, f"{what}: predictions differ by {worst}"
    print(f"{what}: {len(expected)} predictions equal within {worst:.1e}")


def clamped(predicted, ratings):
    low, high = min(ratings), max(ratings)
    return {pair: min(max(value, low), high) for pair, value in predicted.items()}


def check_list(cluster, model, frame, known):
    """The movies that Shoal lists are the best of those that the user has not rated."""
    user = min(known)
    row = model.recommendForUserSubset(frame.filter(frame.user == user).select("user").distinct(), 5000)
    ranked = [(rec.rating, rec.item) for rec in row.collect()[0].recommendations]
    unseen = [(rating, movie) for rating, movie in ranked if movie not in known[user]]
    answer = cluster.recommend(user, "n=20&rank_by=rating")
    listed = answer["recommendations"]
    assert answer["source"] == "model" and len(listed) == 20, answer
    assert all(movie["title"] for movie in listed), answer
    for (rating, _), movie in zip(unseen, listed):
        assert abs(movie["score"] - rating) <= TOLERANCE * max(1.0, abs(rating)), (rating, movie)
    print(f"lists: the best 20 of {len(unseen)} unseen movies of user {user} have Spark's scores")


def main():
    shoal, data, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    work.mkdir(parents=True)
    with open(data / "ratings.csv", encoding="utf-8") as file:
        rows = [(int(row["userId"]), int(row["movieId"]), float(row["rating"])) for row in csv.DictReader(file)]
    values = [rating for _, _, rating in rows]
    known = {}
    for user, movie, _ in rows:
        known.setdefault(user, set()).add(movie)
    spark = spark_session(work)
    cluster = Cluster(shoal, work)
    try:
        frame = spark.createDataFrame(rows, "user INT, item INT, rating FLOAT").cache()
        asked = spark.createDataFrame([row[:2] for row in rows[::EVERY]], "user INT, item INT")
        als = ALS(rank=12, maxIter=3, regParam=0.1, seed=7, coldStartStrategy="nan")
        model = als.fit(frame)
        model.write().overwrite().save(str(work / "saved"))

        cluster.run("dataset", "import", data, "--name", "movies")
        imported = cluster.run("models", "import", "--from", "spark", work / "saved", "--dataset", "movies")
        cluster.run("models", "promote", imported["version"])
        expected = predictions(model, asked)
        found = {pair: cluster.predict(*pair) for pair in expected}
        compare("Spark to Shoal", found, clamped(expected, values))
        check_list(cluster, model, frame, known)

        # Below bestModel/, and without a data set: then there is no scale to keep ratings on.
        validation = TrainValidationSplit(
            estimator=als,
            estimatorParamMaps=ParamGridBuilder().addGrid(als.rank, [4]).build(),
            evaluator=RegressionEvaluator(labelCol="rating"),
        )
        best = validation.fit(frame.limit(20_000))
        best.write().overwrite().save(str(work / "validated"))
        imported = cluster.run("models", "import", "--from", "spark", work / "validated")
        cluster.run("models", "promote", imported["version"])
        expected = predictions(best.bestModel, asked)
        compare("bestModel to Shoal", {pair: cluster.predict(*pair) for pair in expected}, expected)

        trained = cluster.run("train", "--dataset", "movies", "--rank", "16", "--iterations", "3", "--promote")
        cluster.run("models", "export", trained["model_version"], "--to", "spark", work / "exported")
        found = clamped(predictions(ALSModel.load(str(work / "exported")), asked), values)
        compare("Shoal to Spark", found, {pair: cluster.predict(*pair) for pair in found})
    finally:
        cluster.stop()
        spark.stop()


main()
