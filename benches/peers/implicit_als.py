"""The package implicit's ALS on a ratings file; prints one JSON object.

Usage: implicit_als.py RATINGS.csv --factors 64 --iterations 4 --threads 2 [--exact] [--alpha 10 --start FACTORS]
Every row of the file counts as observed: with the confidence 1, or alpha times its rating. The seconds of the first
iteration are not counted. With --start it begins from factors as objective.py reads them, and the objective's values are
those of the start and after each iteration; computing them takes no part in the seconds.
"""

import argparse
import json
import sys
from pathlib import Path

import implicit
import numpy as np
import threadpoolctl
from implicit.als import AlternatingLeastSquares

import objective


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ratings")
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--exact", action="store_true", help="Cholesky instead of 3 steps of CG")
    parser.add_argument("--alpha", type=float)
    parser.add_argument("--regularization", type=float, default=0.01)
    parser.add_argument("--start", type=Path)
    arguments = parser.parse_args()

    # The package's own advice: its threads, not the BLAS's.
    threadpoolctl.threadpool_limits(1, "blas")
    users, items, matrix = objective.read(arguments.ratings, arguments.alpha or 1.0)
    if arguments.alpha is None:
        matrix.data = np.ones_like(matrix.data)

    model = AlternatingLeastSquares(
        factors=arguments.factors,
        regularization=arguments.regularization,
        # The confidences are in the matrix.
        alpha=1.0,
        iterations=arguments.iterations,
        use_cg=not arguments.exact,
        use_gpu=False,
        num_threads=arguments.threads,
        random_state=42,
    )
    ends, values = [], []

    def note_objective():
        if arguments.start:
            rows = model.user_factors, model.item_factors
            values.append(objective.objective(matrix, *rows, arguments.regularization))

    def after(_iteration, elapsed, *_rest):
        ends.append(elapsed)
        note_objective()

    if arguments.start:
        model.user_factors = objective.factors(arguments.start / "userFactors", users)
        model.item_factors = objective.factors(arguments.start / "itemFactors", items)
        note_objective()
    model.fit_callback = after
    model.fit(matrix, show_progress=False)
    json.dump(
        {
            "observed": int(matrix.nnz),
            "users": len(users),
            "items": len(items),
            "seconds_per_iteration": ends[1:],
            "objectives": values,
            "version": implicit.__version__,
        },
        sys.stdout,
    )


main()
