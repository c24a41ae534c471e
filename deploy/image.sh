#!/usr/bin/env bash
# Makes the image of deploy/Dockerfile without a registry: FROM scratch, of a binary and of this Debian's files.
#
#   deploy/image.sh [BINARY] [TAG]        target/release/shoal and shoal:latest by default
#
# In the image are the binary without symbols, the libraries that it names, the loader, the authorities' certificates, a
# passwd with the user 65532, and the folders of the volumes, which belong to that user.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:-target/release/shoal}
tag=${2:-shoal:latest}
docker=${DOCKER:-docker}
[ -x "$binary" ] || { echo "there is no binary '$binary'; cargo build --release --workspace --bin shoal makes it" >&2; exit 1; }
authorities=/etc/ssl/certs/ca-certificates.crt
[ -r "$authorities" ] || { echo "'$authorities' is not there; apt-get install ca-certificates brings it" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
install -d "$root"/{usr/bin,etc/ssl/certs,usr/share/doc/shoal,var/lib/shoal,store}
install -d -m 1777 "$root/tmp"
strip -o "$root/usr/bin/shoal" "$binary"
chmod 755 "$root/usr/bin/shoal"
# Each library by the path that the loader gives it; the kernel's own has none.
ldd "$binary" | grep -o '/[^ ]*' | sort -u | while read -r library; do
    install -D -m 755 "$library" "$root$library"
done
install -m 644 "$authorities" "$root$authorities"
install -m 644 LICENSE THIRD-PARTY.md "$root/usr/share/doc/shoal/"
printf 'root:x:0:0:root:/:/sbin/nologin\nshoal:x:65532:65532:shoal:/var/lib/shoal:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nshoal:x:65532:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"

# The legacy builder leaves copied folders to root; an archive brings its owners along.
tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner --exclude=./var/lib/shoal --exclude=./store -cf "$work/root.tar" .
tar -C "$root" --owner=65532 --group=65532 --numeric-owner -rf "$work/root.tar" ./var/lib/shoal ./store
{
    printf 'FROM scratch\nADD root.tar /\n'
    sed '1,/^# == From here on/d' deploy/Dockerfile
} >"$work/Dockerfile"
rm -rf "$root"
"$docker" build --quiet --tag "$tag" \
    --build-arg VERSION="$("$binary" --version | cut -d' ' -f2)" \
    --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" "$work" >/dev/null
"$docker" image inspect --format "$tag: {{.Size}} bytes" "$tag"
