# shellcheck shell=bash
# `make dist`: what it makes is what it says, and the package comes and goes in a root of Debian 13.
# Compressed quickly, not well.
export DPKG_DEB_COMPRESSOR_TYPE=gzip DPKG_DEB_COMPRESSOR_LEVEL=1
make dist >"$WORK/dist.log" 2>&1 || { tail -20 "$WORK/dist.log"; fail "make dist"; }
dist=$TARGET/dist
(cd "$dist" && sha256sum --check --strict SHA256SUMS)
version=$("$TARGET/image/difygate" --version | cut -d' ' -f2)
equal "files" "$(find "$dist" -type f | wc -l), of which $(wc -l <"$dist/SHA256SUMS") are summed" "4, of which 3 are summed"
equal "the archive's program" "$(tar -xzOf "$dist"/difygate-*"$(uname -m).tar.gz" --wildcards '*/difygate' | sha256sum)" \
  "$(sha256sum <"$TARGET/image/difygate")"
docker rmi -f "difygate:$version" difygate:latest >/dev/null 2>&1
docker load --quiet --input "$dist"/difygate-*-image.tar.gz
equal "the loaded image" "$(docker run --rm difygate --version)" "difygate $version"

[ -f "$ROOT" ] || skip "no root of Debian 13"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
root=$WORK/root
mkdir "$root"
tar -C "$root" -x <"$ROOT"
present() { (cd "$root" && find . -path ./var/lib/dpkg -prune -o -path ./var/log/dpkg.log -prune -o -print | sort); }
into() { cp "$1" "$root/tmp/difygate.deb" && chroot "$root" dpkg --install /tmp/difygate.deb && rm "$root/tmp/difygate.deb"; }
present >"$WORK/before"
into "$dist"/*.deb >"$WORK/said"
grep -q 'systemctl enable --now difygate' "$WORK/said" || { cat "$WORK/said"; fail "it does not say how to begin"; }
equal "installed" "$(chroot "$root" difygate --version)" "difygate $version"
equal "who may read the variables" "$(stat -c %a:%U "$root/etc/difygate/difygate.env")" 600:root
equal "completions of bash, zsh and fish, man pages" "$(cd "$root/usr/share" && for file in bash-completion/completions/difygate \
  zsh/vendor-completions/_difygate fish/vendor_completions.d/difygate.fish man/man1/difygate.1.gz; do
  zgrep -c . -- "$file" | sed 's/[1-9][0-9]*/yes/'
done | xargs)" "yes yes yes yes"

# The unit: as systemd reads it, and what it runs, as a user like the one it makes up.
unit=$root/usr/lib/systemd/system/difygate.service
if command -v systemd-analyze >/dev/null; then
  sed "s#/usr/bin/difygate#$root&#" "$unit" >"$WORK/difygate.service"
  equal "systemd-analyze verify" "$(systemd-analyze verify --man=no "$WORK/difygate.service" 2>&1 && echo good)" good
else
  say "systemd-analyze is not installed: the unit is not verified"
fi
here=(nsenter --target "$ENGINE" --net)
# shellcheck disable=SC2054 # commas of setpriv
as_user=("${here[@]}" chroot "$root" setpriv --reuid 64123 --regid 64123 --clear-groups --no-new-privs
  --bounding-set -all,+net_bind_service --inh-caps -all,+net_bind_service --ambient-caps -all,+net_bind_service)
{ echo "listen: 127.0.0.1:80"; sed '/^#/d' examples/minimal.yaml; } >"$root/etc/difygate/difygate.yaml"
"${here[@]}" "$TARGET/image/difygate" sim --listen 127.0.0.1 --app chat=app-key-of-dify1 >/dev/null 2>&1 &
dify=$!
install -d -o 64123 -g 64123 -m 700 "$root/var/lib/private/difygate"
ln -s private/difygate "$root/var/lib/difygate"
exec=$(sed -n 's/^ExecStart=//p' "$unit")
# shellcheck disable=SC2086 # a command and its arguments
"${as_user[@]}" env STATE_DIRECTORY=/var/lib/difygate $exec >"$WORK/gateway.log" 2>&1 &
gateway=$!
until_true 10 ask --fail http://127.0.0.1/health || { cat "$WORK/gateway.log"; fail "ExecStart does not serve"; }
equal "its user and capabilities" "$(awk '/^(Uid|CapEff):/{print $2}' "/proc/$gateway/status" | xargs)" "64123 0000000000000400"
equal "an answer on port 80" "$(ask http://127.0.0.1/v1/chat-messages -H 'Authorization: Bearer usertoken--customer-service-v1' \
  -H 'Content-Type: application/json' -d '{"inputs": {}, "query": "hello", "response_mode": "blocking", "user": "alice"}' |
  grep -o '"answer": "[^"]*"')" '"answer": "Echo: hello"'
# shellcheck disable=SC2046 # a command and its arguments
"${as_user[@]}" $(sed -n 's/^ExecReload=//p' "$unit" | head -1) >/dev/null || fail "the first ExecReload"

# An upgrade keeps what the operator wrote, and what runs.
echo 'DIFY1_KEY=app-one' >>"$root/etc/difygate/difygate.env"
mkdir "$WORK/newer"
deploy/debian/build.sh "$TARGET/image/difygate" "$TARGET/image/licenses.txt" "$version+1" "$WORK/newer"
into "$WORK"/newer/*.deb >"$WORK/said"
grep -q 'systemctl restart difygate' "$WORK/said" || { cat "$WORK/said"; fail "it does not say that the earlier one runs"; }
equal "upgraded to" "$(chroot "$root" dpkg-query -W -f '${Version}' difygate)" "$version+1"
equal "the operator's variables" "$(grep -c app-one "$root/etc/difygate/difygate.env")" 1
equal "the earlier one, meanwhile" "$(code http://127.0.0.1/health)" 200
kill "$gateway"
wait "$gateway" || fail "exit code $? after SIGTERM"
kill "$dify"
test -f "$root/var/lib/difygate/difygate.redb" || fail "no state"

# Removed, it leaves what the operator has; purged, nothing.
chroot "$root" dpkg --remove difygate >/dev/null
kept() { for file; do if [ -e "$root/$file" ]; then echo "$file"; fi; done | xargs; }
equal "after a removal" "$(kept usr/bin/difygate etc/difygate/difygate.yaml var/lib/difygate/difygate.redb)" \
  "etc/difygate/difygate.yaml var/lib/difygate/difygate.redb"
chroot "$root" dpkg --purge difygate >/dev/null
rmdir "$root/var/lib/private" # systemd's own
present >"$WORK/after"
diff "$WORK/before" "$WORK/after" || fail "a purge leaves something behind"
say "a purge leaves nothing"
