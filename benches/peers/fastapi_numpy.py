"""What a good Python engineer would write: FastAPI and numpy, all factors in one process.

Usage: fastapi_numpy.py EXPORT ITEMS.csv   (EXPORT as `shoal models export --to parquet` writes it)
"""

import argparse

import fastapi
import numpy as np
import orjson
import pyarrow.dataset

import serving


def factors(folder):
    table = pyarrow.dataset.dataset(folder, format="parquet").to_table(columns=["id", "features"])
    ids = table["id"].to_numpy()
    rows = table["features"].combine_chunks().flatten().to_numpy().reshape(len(ids), -1)
    return ids, np.ascontiguousarray(rows, dtype=np.float32)


parser = argparse.ArgumentParser()
parser.add_argument("export")
parser.add_argument("items")
arguments = parser.parse_args()
catalogue = serving.titles(arguments.items)
user_ids, users = factors(f"{arguments.export}/ranking/userFactors")
item_ids, items = factors(f"{arguments.export}/ranking/itemFactors")
row_of = {int(user): row for row, user in enumerate(user_ids)}
app = fastapi.FastAPI()


@app.get("/v1/users/{user_id}/recommendations")
async def recommend(user_id: int, n: int = 10):
    row = row_of.get(user_id)
    if row is None:
        raise fastapi.HTTPException(404, f"user {user_id} is unknown")
    scores = items @ users[row]
    best = np.argpartition(scores, -n)[-n:]
    best = best[np.argsort(-scores[best])]
    pairs = zip(item_ids[best].tolist(), scores[best].tolist())
    body = orjson.dumps(serving.answer(user_id, pairs, catalogue))
    return fastapi.Response(body, media_type="application/json")


serving.serve(app)
