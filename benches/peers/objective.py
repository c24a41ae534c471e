"""The value of the implicit objective for given factors, in f64; prints one JSON object.

Usage: objective.py RATINGS.csv FACTORS --alpha 10 --regularization 0.01
FACTORS has userFactors/ and itemFactors/ in Parquet, with the columns id and features. Every pair in the file has the
confidence alpha times its rating and the preference 1, every other pair the confidence 1 and the preference 0.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import polars
import scipy.sparse

RATINGS_AT_ONCE = 1 << 16
ROWS_AT_ONCE = 1 << 14


def read(path, alpha):
    """Ids of users and of items, ascending, and the confidences of users times items in compressed rows."""
    table = polars.read_csv(path, columns=[0, 1, 2])
    users, rows = np.unique(table[:, 0].to_numpy(), return_inverse=True)
    items, columns = np.unique(table[:, 1].to_numpy(), return_inverse=True)
    confidences = (alpha * table[:, 2].to_numpy()).astype(np.float32)
    matrix = scipy.sparse.csr_matrix((confidences, (rows, columns)), shape=(len(users), len(items)))
    return users, items, matrix


def gramian(factors):
    total = np.zeros((factors.shape[1],) * 2)
    for begin in range(0, len(factors), ROWS_AT_ONCE):
        part = factors[begin : begin + ROWS_AT_ONCE].astype(np.float64)
        total += part.T @ part
    return total


def objective(matrix, user_factors, item_factors, regularization):
    """Sum of c (p - x.y)^2 over every pair, and the regularization times the squares of all factors."""
    of_users, of_items = gramian(user_factors), gramian(item_factors)
    # Every pair as one that is not in the file; then what those in the file have instead.
    total = float(np.sum(of_users * of_items))
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    for begin in range(0, matrix.nnz, RATINGS_AT_ONCE):
        part = slice(begin, begin + RATINGS_AT_ONCE)
        x = user_factors[rows[part]].astype(np.float64)
        y = item_factors[matrix.indices[part]].astype(np.float64)
        scores = np.einsum("ij,ij->i", x, y)
        total += float(np.sum(matrix.data[part].astype(np.float64) * (1 - scores) ** 2 - scores**2))
    return total + regularization * float(np.trace(of_users) + np.trace(of_items))


def factors(folder, ids):
    """Rows for these ids, in their order."""
    table = polars.read_parquet(str(folder / "*.parquet")).sort("id")
    found = table["id"].to_numpy()
    if not np.array_equal(found, ids):
        sys.exit(f"{folder} has other ids than the ratings")
    return np.ascontiguousarray(np.vstack(table["features"].to_numpy())).astype(np.float32)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ratings")
    parser.add_argument("factors", type=Path)
    parser.add_argument("--alpha", type=float, required=True)
    parser.add_argument("--regularization", type=float, required=True)
    arguments = parser.parse_args()
    users, items, matrix = read(arguments.ratings, arguments.alpha)
    rows = [factors(arguments.factors / "userFactors", users), factors(arguments.factors / "itemFactors", items)]
    json.dump({"objective": objective(matrix, *rows, arguments.regularization)}, sys.stdout)


if __name__ == "__main__":
    main()
