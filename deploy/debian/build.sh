#!/usr/bin/env bash
# Makes the Debian package of a release binary that is built already: target/release/shoal.
#
#   cargo build --release --workspace --bin shoal
#   deploy/debian/build.sh [FOLDER]          target/debian by default; prints the package's path
#
# It takes cargo-deb (cargo install cargo-deb@3.8.0) and dpkg-dev. What is in the package says cluster/Cargo.toml.
set -euo pipefail
out=$(realpath -m "${1:-target/debian}")
cd "$(dirname "$0")/../.."
binary=target/release/shoal
[ -x "$binary" ] || { echo "there is no binary '$binary'; cargo build --release --workspace --bin shoal makes it" >&2; exit 1; }
command -v cargo-deb >/dev/null || { echo "there is no cargo-deb; cargo install cargo-deb@3.8.0 brings it" >&2; exit 1; }

made=target/debian
rm -rf "$made/man" "$made/completions"
mkdir -p "$made/completions" "$out"
"$binary" man --out "$made/man" >&2
"$binary" completions bash >"$made/completions/shoal.bash"
"$binary" completions zsh >"$made/completions/_shoal"
"$binary" completions fish >"$made/completions/shoal.fish"
cargo deb --quiet --locked --package shoal-cluster --no-build --output "$out/"
