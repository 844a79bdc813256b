#!/bin/sh
# difygate as a package of Debian: deploy/debian/build.sh BINARY LICENSES VERSION FOLDER; `make dist` calls it.
# The binary is static, so the package depends on nothing, and runs on any Debian or Ubuntu.
set -eu
binary=$1 licenses=$2 version=$3 folder=$4
here=$(dirname "$0")
arch=$(dpkg --print-architecture)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

install -D -m 755 "$binary" "$root/usr/bin/difygate"
install -D -m 644 "$here/../systemd/difygate.service" "$root/usr/lib/systemd/system/difygate.service"
sed -i 's#/usr/local/bin/#/usr/bin/#' "$root/usr/lib/systemd/system/difygate.service"
install -D -m 644 "$here/../systemd/difygate.logrotate" "$root/etc/logrotate.d/difygate"
install -D -m 600 "$here/difygate.env" "$root/etc/difygate/difygate.env"
install -D -m 644 "$licenses" "$root/usr/share/doc/difygate/copyright"
for file in "$here"/../../examples/*; do
  install -D -m 644 -t "$root/usr/share/doc/difygate/examples" "$file"
done

write() { # FILE OF THE PACKAGE, COMMAND…
  mkdir -p "$root/$(dirname "$1")"
  file=$root/$1
  shift
  "$@" >"$file"
}
write usr/share/bash-completion/completions/difygate "$binary" completions bash
write usr/share/zsh/vendor-completions/_difygate "$binary" completions zsh
write usr/share/fish/vendor_completions.d/difygate.fish "$binary" completions fish
"$binary" man "$root/usr/share/man/man1" >/dev/null
gzip -9n "$root"/usr/share/man/man1/*.1

mkdir "$root/DEBIAN"
sed "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$(du -sk "$root" | cut -f1)/" "$here/control" >"$root/DEBIAN/control"
printf '%s\n' /etc/difygate/difygate.env /etc/logrotate.d/difygate >"$root/DEBIAN/conffiles"
install -m 755 "$here/postinst" "$here/prerm" "$here/postrm" "$root/DEBIAN/"
chmod -R u=rwX,go=rX "$root/usr"
chmod 755 "$root"
dpkg-deb --root-owner-group --build "$root" "$folder/difygate_${version}_$arch.deb" >/dev/null
