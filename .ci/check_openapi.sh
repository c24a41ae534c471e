#!/usr/bin/env bash
# Tries what the OpenAPI description says on a running service, for about two and a half minutes, with a fixed seed.
# Usage: check_openapi.sh SERVED.json SCHEMATHESIS   (what `shoal quickstart --json` prints, and the program; whole paths)
set -euo pipefail
served=$1 schemathesis=$2
here=$(cd "$(dirname "$0")" && pwd)
# The program keeps notes where it is run.
cd "$(dirname "$served")"
for _ in $(seq 600); do
    url=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["http"])' "$served" 2>/dev/null) && break
    sleep 0.1
done
"$schemathesis" --config-file "$here/schemathesis.toml" run "$url/openapi.json" \
    --seed 1 --max-examples 25 --continue-on-failure --warnings off
