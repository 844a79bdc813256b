#!/usr/bin/env bash
# The files of a release: scripts/dist.sh FOLDER, where FOLDER/image is what `make image-context` has made. `make dist`.
set -euo pipefail
cd "$(dirname "$0")/.."
image=$1/image out=$1/dist
docker version >/dev/null 2>&1 || { echo "the image of a release takes Docker, and no engine answers" >&2; exit 1; }
version=$("$image/difygate" --version | cut -d' ' -f2)
name=difygate-$version-$(uname -m)
# Two builds of one commit are the same, byte for byte.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

rm -rf "$out"
mkdir -p "$out/$name"
cp "$image/difygate" "$image/licenses.txt" LICENSE "$out/$name/"
tar -C "$out" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -c "$name" | gzip -n >"$out/$name.tar.gz"
rm -r "${out:?}/$name"
deploy/debian/build.sh "$image/difygate" "$image/licenses.txt" "$version" "$out"
docker build --quiet -t "difygate:$version" -t difygate:latest -f deploy/Dockerfile "$image" >/dev/null
docker save "difygate:$version" difygate:latest | gzip -n >"$out/$name-image.tar.gz"
(cd "$out" && sha256sum -- * >SHA256SUMS)
ls -l "$out"
