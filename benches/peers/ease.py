"""EASE (Steck 2019) with numpy and scipy on a ratings file; prints one JSON object.

Usage: ease.py RATINGS.csv --reg 500 --threads 2 [--height] [--double] [--test TEST.csv --neighbours 200 --users 2000]
Every pair of the file is a liking: of 1, or by the height of its rating from 0.1 to 1. The inverse is LAPACK's by Cholesky
(potrf, potri), in place, in f32 or f64. With --test, lists are ranked for the first users (by id) with ratings and held-out
items that somebody has rated: by all weights, and by the largest. A held-out pair counts whatever its rating; items that the
user has rated are not listed.
"""

import argparse
import json
import os
import sys
import time


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("ratings")
    parser.add_argument("--reg", type=float, default=500.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--height", action="store_true", help="likings from 0.1 to 1 by the height of the rating")
    parser.add_argument("--double", action="store_true", help="f64 instead of f32")
    parser.add_argument("--test")
    parser.add_argument("--neighbours", type=int, default=200)
    parser.add_argument("--users", type=int, default=2000)
    return parser.parse_args()


arguments = arguments()
# The library counts its threads when it is loaded.
os.environ["OPENBLAS_NUM_THREADS"] = str(arguments.threads)

import numpy as np  # noqa: E402
import polars  # noqa: E402
import scipy  # noqa: E402
import scipy.linalg.lapack as lapack  # noqa: E402
import scipy.sparse  # noqa: E402

LENGTH = 20
ROWS_AT_ONCE = 1_000


def columns(path):
    table = polars.read_csv(path, columns=[0, 1, 2])
    return [table[:, column].to_numpy() for column in range(3)]


def likings(ratings):
    if not arguments.height:
        return np.ones(len(ratings))
    least, greatest = ratings.min(), ratings.max()
    return 0.1 + 0.9 * (ratings - least) / (greatest - least)


def gramian(matrix, kind):
    """The sums of products of the likings of every two items, column by column."""
    items = matrix.shape[1]
    result = np.empty((items, items), dtype=kind, order="F")
    turned = matrix.T.tocsr()
    for begin in range(0, items, ROWS_AT_ONCE):
        part = slice(begin, begin + ROWS_AT_ONCE)
        result[:, part] = (turned[part] @ matrix).toarray().T
    return result


def inverse(matrix):
    """The inverse in the lower triangle."""
    single = matrix.dtype == np.float32
    factorise, invert = (lapack.spotrf, lapack.spotri) if single else (lapack.dpotrf, lapack.dpotri)
    factor, info = factorise(matrix, lower=1, overwrite_a=1, clean=0)
    if info:
        sys.exit(f"potrf failed: {info}")
    result, info = invert(factor, lower=1, overwrite_c=1)
    if info:
        sys.exit(f"potri failed: {info}")
    return result


def mirror(matrix):
    """Copies the lower triangle to the upper one."""
    for begin in range(0, len(matrix), ROWS_AT_ONCE):
        part = slice(begin, begin + ROWS_AT_ONCE)
        block = np.tril(matrix[part, part])
        matrix[part, part] = block + np.tril(block, -1).T
        matrix[part, begin + ROWS_AT_ONCE :] = matrix[begin + ROWS_AT_ONCE :, part].T


def sizes(weights):
    """The upper half of the bits of each weight without its sign."""
    return np.abs(weights).astype(np.float32).view(np.uint32) >> 16


def keep_largest(weights, neighbours):
    """Zeros in the place of all but the largest, in whole buckets of sizes, and the largest twenty of each column."""
    counts = np.zeros(1 << 15, dtype=np.int64)
    blocks = [slice(begin, begin + ROWS_AT_ONCE) for begin in range(0, len(weights), ROWS_AT_ONCE)]
    for block in blocks:
        counts += np.bincount(sizes(weights[block]).ravel(), minlength=len(counts))
    counts[0] = 0
    kept = np.cumsum(counts[::-1])[::-1]
    bucket = np.searchsorted(-kept, -len(weights) * neighbours)
    for block in blocks:
        columns = weights[:, block]
        small = sizes(columns) < bucket
        least = min(20, neighbours, len(weights))
        largest = np.argpartition(-np.abs(columns), least - 1, axis=0)[:least]
        np.put_along_axis(small, largest, False, axis=0)
        columns[small] = 0.0


def judge(weights, rated, relevant):
    discounts = 1.0 / np.log2(np.arange(LENGTH) + 2)
    total = 0.0
    for row, held_out in zip(rated, relevant):
        scores = row.data @ weights[row.indices]
        scores[row.indices] = -np.inf
        best = np.argpartition(-scores, LENGTH)[:LENGTH]
        best = best[np.argsort(-scores[best], kind="stable")]
        gain = discounts[np.isin(best, held_out)].sum()
        total += gain / discounts[: min(len(held_out), LENGTH)].sum()
    return total / len(rated)


def main():
    user_ids, item_ids, ratings = columns(arguments.ratings)
    users, rows = np.unique(user_ids, return_inverse=True)
    items, of_items = np.unique(item_ids, return_inverse=True)
    kind = np.float64 if arguments.double else np.float32
    values, shape = likings(ratings).astype(kind), (len(users), len(items))
    matrix = scipy.sparse.csr_matrix((values, (rows, of_items)), shape=shape)
    started = time.perf_counter()
    gram = gramian(matrix, kind)
    gram[np.diag_indices(len(items))] += arguments.reg
    summed = time.perf_counter()
    result = inverse(gram)
    inverted = time.perf_counter()
    answer = {
        "users": len(users),
        "items": len(items),
        "ratings": int(matrix.nnz),
        "sums_seconds": summed - started,
        "inverse_seconds": inverted - summed,
        "type": np.dtype(kind).name,
        "version": f"numpy {np.__version__}, scipy {scipy.__version__}",
    }
    if arguments.test:
        mirror(result)
        diagonal = np.diag(result).copy()
        result /= -diagonal
        np.fill_diagonal(result, 0.0)
        answer |= lists(result, users, items, matrix)
    json.dump(answer, sys.stdout)


def lists(weights, users, items, matrix):
    test_users, test_items, _ = columns(arguments.test)
    known = np.isin(test_users, users) & np.isin(test_items, items)
    rows, of_items = np.searchsorted(users, test_users[known]), np.searchsorted(items, test_items[known])
    held_out = scipy.sparse.csr_matrix((np.ones(len(rows)), (rows, of_items)), shape=matrix.shape)
    judged = np.flatnonzero(np.diff(held_out.indptr))[: arguments.users]
    rated, relevant = [matrix[user] for user in judged], [held_out[user].indices for user in judged]
    weights = np.ascontiguousarray(weights)
    answer = {"judged_users": len(judged), "ndcg": judge(weights, rated, relevant)}
    keep_largest(weights, arguments.neighbours)
    answer["kept"] = int(np.count_nonzero(weights))
    answer["ndcg_of_largest"] = judge(weights, rated, relevant)
    return answer


main()
