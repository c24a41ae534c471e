#!/usr/bin/env bash
# Makes the Python environment with the peers that the benchmarks measure against.
# Usage: benches/peers/setup.sh DIR   (needs Python 3.10 or newer, and Java 17 for Spark)
set -euo pipefail
dir=${1:?where to make the environment}
here=$(cd "$(dirname "$0")" && pwd)
[ -x "$dir/bin/python" ] || python3 -m venv "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
"$dir/bin/python" -c 'import faiss, fastapi, implicit, polars, pyarrow, pyspark; print("peers are ready:", pyspark.__version__, implicit.__version__)'
