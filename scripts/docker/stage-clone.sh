# shellcheck shell=bash
# `docker compose up -d` in a fresh clone: the image is built there, and serves. Of what a user has, only the network is
# missing: Debian 13 is a root made by debootstrap, and the mirrors that the build takes as arguments stand before
# Debian's own and what Cargo and rustup have on this machine. What an earlier run built of the same crates goes in.
[ -f "$ROOT" ] || skip "no root of Debian 13"
# The stage `image` builds it by `make image` then.
git rev-parse HEAD >/dev/null 2>&1 || skip "this is no checkout of git"
if [ ! -f "$IMAGE_TAR" ]; then
  cargo fetch --locked --quiet || skip "crates cannot be fetched"
  for url in debian/dists/trixie/Release crates/se/rd/serde; do
    ask --fail -o /dev/null "http://$MIRRORS/$url" || skip "$url cannot be fetched"
  done
fi

clone=$WORK/clone
from=$SECONDS
git clone --quiet . "$clone"
# What stands here is tested, committed or not.
git diff --binary HEAD | git -C "$clone" apply --allow-empty --index
git ls-files --others --exclude-standard -z | xargs -0 -r cp --parents -t "$clone"

if [ ! -f "$IMAGE_TAR" ]; then
  docker import - debian:13 <"$ROOT" >/dev/null
  crates=$CACHE/cargo-cache-$(sha256sum <Cargo.lock | cut -c1-16).tar
  export CARGO_CACHE=scratch
  if [ -f "$crates" ]; then
    docker import - cargo-cache:before <"$crates" >/dev/null
    CARGO_CACHE=cargo-cache:before
  fi
fi

export APT_MIRROR=http://$MIRRORS/debian RUSTUP_DIST_SERVER=http://$MIRRORS/rustup \
  CRATES_MIRROR=sparse+http://$MIRRORS/crates/ BUILD_PROFILE=ci
(cd "$clone" && inside docker compose up -d) >"$WORK/up.log" 2>&1 ||
  { tail -40 "$WORK/up.log"; fail "docker compose up -d"; }
until_true 20 chat alice hello blocking --fail -o "$WORK/answer" || fail "no answer"
equal "the first answer" "$(grep -o '"answer": "[^"]*"' "$WORK/answer")" '"answer": "Echo: hello"'
if [ -f "$IMAGE_TAR" ]; then
  say "from clone to first answer: $((SECONDS - from)) s, with an image that the Dockerfile made of the same binary before"
else
  say "from clone to first answer: $((SECONDS - from)) s, the build with it: $(grep -c Compiling "$WORK/up.log") crates compiled"
  docker save difygate:latest >"$IMAGE_TAR.part" && mv "$IMAGE_TAR.part" "$IMAGE_TAR"
  if [ ! -f "$crates" ]; then
    rm -f "$CACHE"/cargo-cache-*.tar
    echo 'services: { gateway: { image: cargo-cache, build: { target: cargo-cache } } }' >"$WORK/cache.yaml"
    (cd "$clone" && inside docker compose -f compose.yaml -f "$WORK/cache.yaml" build gateway) >"$WORK/cache.log" 2>&1 ||
      { tail -20 "$WORK/cache.log"; fail "the stage cargo-cache"; }
    container=$(docker create cargo-cache nothing)
    docker export "$container" >"$crates.part" && mv "$crates.part" "$crates"
    docker rm "$container" >/dev/null
    docker rmi -f cargo-cache >/dev/null
  fi
fi

# What the image is.
container=$(docker create difygate:latest)
docker export "$container" | tar -C "$WORK" -x usr/local/bin/difygate usr/share/doc/difygate/licenses.txt
docker export "$container" | tar -t | grep -v '/$' | grep -vE '^(dev|etc|proc|sys)/|^\.dockerenv$' | xargs >"$WORK/files"
docker rm "$container" >/dev/null
equal "its files" "$(cat "$WORK/files")" "usr/local/bin/difygate usr/share/doc/difygate/licenses.txt"
equal "its user" "$(of difygate:latest '{{.Config.User}}')" 65532:65532
equal "segments for a loader" "$(readelf --program-headers "$WORK/usr/local/bin/difygate" | grep -c INTERP)" 0
equal "sections of symbols or debugging" "$(readelf --sections "$WORK/usr/local/bin/difygate" | grep -cE '\.symtab|\.debug')" 0

# The commands of the page, in the clone: they find the image.
(cd "$clone" && docker compose down >/dev/null 2>&1 && readme "Try it with compose")
grep -q '"answer": "Echo: hello"' "$WORK/said" || fail "no answer: $(cat "$WORK/said")"

cd "$clone" || exit
compose compose.yaml up -d --wait
gateway=$(docker compose ps -q gateway)
equal "the engine says" "$(of "$gateway" '{{.State.Health.Status}}')" healthy
pid=$(of "$gateway" '{{.State.Pid}}')
equal "the process's user" "$(awk '/^Uid:/{print $2}' "/proc/$pid/status")" 65532
equal "its capabilities" "$(awk '/^CapEff:/{print $2}' "/proc/$pid/status")" 0000000000000000
equal "its listeners" "$(nsenter --target "$pid" --net ss -Hltn | awk '{print $4}' | grep -v '^127.0.0.11:' | sort -u | xargs)" \
  "0.0.0.0:8080 127.0.0.1:9090"
equal "a wrong key" "$(code http://127.0.0.1:8080/v1/info -H 'Authorization: Bearer nobody')" 401
equal "an upload of 1.5 MB" "$(spools 127.0.0.1:8080)" 201
equal "instances by name, without a token" "$(docker compose exec -T gateway difygate status \
  --config /etc/difygate/difygate.yaml | grep -c ' healthy')" 6
# The image alone, its root writable and nothing mounted over /tmp.
docker run -d --name alone --network difygate-dev_default -v "$PWD/deploy/dev:/etc/difygate:ro" difygate >/dev/null
address=$(of alone '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}')
until_true 10 ask -o /dev/null "http://$address:8080/health" || fail "the image alone does not serve"
equal "an upload to the image alone" "$(spools "$address:8080")" 201
docker rm -f alone >/dev/null
compose compose.yaml stop dify2
equal "20 users without dify2" "$(for user in $(seq 20); do
  chat "$user" hello blocking -o /dev/null -w '%{http_code}\n'
done | sort | uniq -c | xargs)" "20 200"
compose compose.yaml up -d --wait dify2

# SIGTERM while an answer streams for four seconds: it ends whole, and the exit code is 0.
chat alice "tokens 40 0.1" streaming -N >"$WORK/stream" &
stream=$!
until_true 5 test -s "$WORK/stream" || fail "no stream"
! grep -q message_end "$WORK/stream" || fail "the stream was too short to test with"
compose compose.yaml stop --timeout 30 gateway
wait "$stream" || fail "the stream was cut"
equal "the drained stream ends with" "$(grep -o message_end "$WORK/stream")" message_end
equal "exit code after SIGTERM" "$(of "$gateway" '{{.State.ExitCode}}')" 0
compose compose.yaml down --volumes
