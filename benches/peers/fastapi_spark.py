"""What the users run now: FastAPI calling a PySpark ALSModel's recommendForUserSubset.

Usage: fastapi_spark.py MODEL ITEMS.csv   (MODEL as `shoal models export --to spark` writes it)
"""

import argparse

import fastapi
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import SparkSession

import serving

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("items")
arguments = parser.parse_args()
catalogue = serving.titles(arguments.items)
session = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.driver.memory", "4g")
    # Two hundred tasks for one user would be unkind.
    .config("spark.sql.shuffle.partitions", "2")
    .getOrCreate()
)
session.sparkContext.setLogLevel("ERROR")
model = ALSModel.load(arguments.model)
model.userFactors.cache().count()
model.itemFactors.cache().count()
app = fastapi.FastAPI()


# No coroutine, so that it runs on a thread of FastAPI's and several requests are under way at once.
@app.get("/v1/users/{user_id}/recommendations")
def recommend(user_id: int, n: int = 10):
    asked = session.createDataFrame([(user_id,)], [model.getUserCol()])
    rows = model.recommendForUserSubset(asked, n).collect()
    if not rows:
        raise fastapi.HTTPException(404, f"user {user_id} is unknown")
    pairs = ((row[0], row[1]) for row in rows[0]["recommendations"])
    return serving.answer(user_id, pairs, catalogue)


model.recommendForUserSubset(session.createDataFrame([(1,)], [model.getUserCol()]), 10).collect()
serving.serve(app)
