#!/usr/bin/env bash
# Makes the binary as it is shipped, and its lines beside it: `shoal` and `shoal.debug` in the folder that is named, with the
# licences of what it is made of and a bill of materials.
# Backtraces name files and lines where both lie in one folder, and functions where `shoal` lies alone.
set -euo pipefail
out=$(realpath -m "${1:?the folder for shoal and shoal.debug}")
cd "$(dirname "$0")/.."
cargo build --profile release-with-lines --locked -p shoal-cluster
mkdir -p "$out"
whole=${CARGO_TARGET_DIR:-target}/release-with-lines/shoal
objcopy --only-keep-debug "$whole" "$out/shoal.debug"
objcopy --strip-debug "$whole" "$out/shoal"
python3 .ci/third_party.py texts >"$out/THIRD-PARTY-LICENSES.txt"
python3 .ci/third_party.py sbom >"$out/shoal.cdx.json"
# The link is a name and a checksum; objcopy looks for the name where it runs.
cd "$out"
objcopy --remove-section=.gnu_debuglink --add-gnu-debuglink=shoal.debug shoal
ls -l shoal shoal.debug
