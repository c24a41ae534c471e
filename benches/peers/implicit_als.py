"""The package implicit's ALS on a ratings file; prints one JSON object.

Usage: implicit_als.py RATINGS.csv --factors 64 --iterations 4 --threads 2 [--exact]
Every row of the file counts as observed. The first iteration is not counted.
"""

import argparse
import json
import sys
import time

import implicit
import numpy as np
import polars
import scipy.sparse
import threadpoolctl
from implicit.als import AlternatingLeastSquares


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ratings")
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--exact", action="store_true", help="Cholesky instead of 3 steps of CG")
    arguments = parser.parse_args()

    # The package's own advice: its threads, not the BLAS's.
    threadpoolctl.threadpool_limits(1, "blas")
    table = polars.read_csv(arguments.ratings, columns=[0, 1])
    users, rows = np.unique(table[:, 0].to_numpy(), return_inverse=True)
    items, columns = np.unique(table[:, 1].to_numpy(), return_inverse=True)
    ones = np.ones(len(rows), dtype=np.float32)
    matrix = scipy.sparse.csr_matrix((ones, (rows, columns)), shape=(len(users), len(items)))

    model = AlternatingLeastSquares(
        factors=arguments.factors,
        iterations=arguments.iterations,
        use_cg=not arguments.exact,
        use_gpu=False,
        num_threads=arguments.threads,
        random_state=42,
    )
    ends = []
    model.fit_callback = lambda iteration, elapsed, *rest: ends.append(elapsed)
    model.fit(matrix, show_progress=False)
    json.dump(
        {
            "observed": int(matrix.nnz),
            "users": len(users),
            "items": len(items),
            "seconds_per_iteration": ends[1:],
            "version": implicit.__version__,
        },
        sys.stdout,
    )


main()
