#!/usr/bin/env bash
# The image and the compose files on a real Docker engine. The engine is our own, in namespaces of
# its own: it changes nothing of the host's network and ends with the test. `make docker-test`.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "docker-test: $*"; }
skip() { say "skipped: $*"; exit 0; }
fail() { say "FAILED: $*" >&2; exit 1; }

# --- What it needs ---------------------------------------------------------------------------

install() { # PACKAGES…; another process may have wiped apt's folder: once more
  export DEBIAN_FRONTEND=noninteractive
  for _ in 1 2; do
    timeout 60 apt-get update -qq && timeout 120 apt-get install -y -qq --no-install-recommends "$@" >/dev/null && return
    timeout 60 apt-get install -y -qq -f >/dev/null || true
  done
  return 1
}

# Compose v2 is a static program that Debian has since trixie; it runs on older ones, too.
fetch_compose() {
  local to=$DOCKER_CONFIG/cli-plugins fetch=$work/fetch mirror apt
  mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
    grep -m1 '/debian/*$')}
  mkdir -p "$to" "$fetch/lists/partial" "$fetch/cache/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" \
    >"$fetch/trixie.list"
  apt=(timeout 60 apt-get -qq -o "Dir::Etc::sourcelist=$fetch/trixie.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$fetch/lists" -o "Dir::Cache=$fetch/cache" -o APT::Sandbox::User=root)
  (cd "$fetch" && "${apt[@]}" update && "${apt[@]}" download docker-compose &&
    dpkg-deb -x docker-compose_*.deb . && cp usr/libexec/docker/cli-plugins/docker-compose "$to/")
}

prepare() {
  [ "$(uname -s)" = Linux ] || skip "this is not Linux"
  [ "$(id -u)" = 0 ] || skip "an engine of our own takes root"
  unshare --net --mount true 2>/dev/null || skip "namespaces cannot be made here"
  local missing=() tool
  declare -A package=([dockerd]=docker.io [docker]=docker.io [iptables]=iptables [ip]=iproute2
    [nsenter]=util-linux [curl]=curl)
  for tool in "${!package[@]}"; do
    command -v "$tool" >/dev/null || missing+=("${package[$tool]}")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    [ -f /etc/debian_version ] || skip "missing: ${missing[*]}"
    install "${missing[@]}" || skip "${missing[*]} cannot be installed"
  fi
  docker compose version >/dev/null 2>&1 && return
  export DOCKER_CONFIG=${CARGO_TARGET_DIR:-$PWD/target}/docker-config
  if ! docker compose version >/dev/null 2>&1; then
    [ -f /etc/debian_version ] || skip "docker compose v2 is missing"
    fetch_compose || fetch_compose || skip "docker compose v2 cannot be fetched"
  fi
}

# --- The engine ------------------------------------------------------------------------------

start_engine() {
  export DOCKER_HOST=unix://$work/docker.sock
  unshare --net --mount bash -c 'ip link set lo up && exec "$@"' - dockerd --data-root "$work/data" \
    --exec-root "$work/exec" --pidfile "$work/dockerd.pid" --host "$DOCKER_HOST" \
    >"$work/dockerd.log" 2>&1 </dev/null &
  engine=$!
  for _ in $(seq 100); do
    timeout 5 docker info >/dev/null 2>&1 && return
    kill -0 "$engine" 2>/dev/null || break
    sleep 0.2
  done
  tail -5 "$work/dockerd.log"
  skip "no engine can run here"
}

cleanup() {
  local status=$? containerd pid
  if [ -n "$engine" ]; then
    [ "$status" = 0 ] || timeout 10 docker ps -aq | xargs -r -n1 timeout 5 docker logs --tail 20 2>&1 | tail -60
    containerd=$(cat "$work/exec/containerd/containerd.pid" 2>/dev/null || true)
    timeout 10 docker ps -aq | xargs -r timeout 30 docker rm -f >/dev/null || true
    kill "$engine" 2>/dev/null || true
    for _ in $(seq 100); do kill -0 "$engine" 2>/dev/null || break; sleep 0.1; done
    for pid in $engine $containerd; do kill -9 "$pid" 2>/dev/null || true; done
    wait "$engine" 2>/dev/null || true
  fi
  rm -rf "$work" || say "left behind: $work"
  exit "$status"
}

# --- The tests, under one time limit -----------------------------------------------------------

inside() { nsenter --target "$ENGINE" --net "$@"; }
ask() { inside curl -sS --max-time 20 "$@"; }
of() { docker inspect --format "$2" "$1"; } # CONTAINER FORMAT
equal() { [ "$2" = "$3" ] || fail "$1: '$2' instead of '$3'"; say "$1: $2"; } # WHAT FOUND EXPECTED
chat() { # USER QUERY MODE
  ask "http://127.0.0.1:8080/v1/chat-messages" -H 'Authorization: Bearer usertoken--customer-service-v1' \
    -H 'Content-Type: application/json' "${@:4}" \
    -d "{\"inputs\": {}, \"query\": \"$2\", \"response_mode\": \"$3\", \"user\": \"$1\"}"
}
compose() { docker compose -f "$@" 2>"$WORK/compose.log" || { cat "$WORK/compose.log"; return 1; }; }
code() { ask -o /dev/null -w '%{http_code}' "$@"; }

# A body beyond `memory_body` is spooled; the folder for that must be writable.
spools() { # ADDRESS
  head -c 1500000 /dev/zero >"$WORK/file.txt"
  code "http://$1/v1/files/upload" -H 'Authorization: Bearer usertoken--customer-service-v1' \
    -F user=alice -F "file=@$WORK/file.txt;type=text/plain"
}

# All commands of a section of deploy/README.md, as printed.
readme() { # SECTION
  say "deploy/README.md, $1"
  awk -v section="## $1" '/^## / { inside = $0 == section } /^```/ { code = /^```sh/; next } inside && code' \
    deploy/README.md >"$WORK/commands.sh"
  [ -s "$WORK/commands.sh" ] || fail "this section has no commands"
  inside bash -euxo pipefail "$WORK/commands.sh" >"$WORK/said" 2>&1 </dev/null || { cat "$WORK/said"; return 1; }
}

test_image() {
  readme "A container"
  say "image: $(of difygate '{{.Size}}') bytes, $(docker run --rm difygate --version)"
  equal "the image's user" "$(of difygate '{{.Config.User}}')" 65532:65532
}

test_opendify() {
  readme "In place of OpenDify"
  for _ in $(seq 50); do ask -o /dev/null http://127.0.0.1:5000/health 2>/dev/null && break; sleep 0.1; done
  equal "its models" "$(ask http://127.0.0.1:5000/v1/models -H 'Authorization: Bearer sk-change-me' |
    grep -o '"id":"[^"]*"')" '"id":"customer-service"'
  docker rm -f difygate >/dev/null
}

test_dev() {
  local file=deploy/compose.dev.yaml gateway pid
  compose $file up -d --wait
  gateway=$(docker compose -f $file ps -q gateway)
  equal "the engine says" "$(of "$gateway" '{{.State.Health.Status}}')" healthy
  pid=$(of "$gateway" '{{.State.Pid}}')
  equal "the process's user" "$(awk '/^Uid:/{print $2}' "/proc/$pid/status")" 65532
  equal "its capabilities" "$(awk '/^CapEff:/{print $2}' "/proc/$pid/status")" 0000000000000000
  equal "/health" "$(code http://127.0.0.1:8080/health)" 200
  equal "a chat" "$(chat alice hello blocking | grep -o '"answer": "[^"]*"')" '"answer": "Echo: hello"'
  equal "an upload of 1.5 MB" "$(spools 127.0.0.1:8080)" 201
  equal "instances by name" "$(docker compose -f $file exec -T gateway difygate status \
    --config /etc/difygate/difygate.yaml | grep -c ' healthy')" 6
  # The image alone, its root writable and nothing mounted over /tmp.
  docker run -d --name alone --network difygate-dev_default -v "$PWD/deploy/dev:/etc/difygate:ro" \
    difygate >/dev/null
  local address
  address=$(of alone '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}')
  for _ in $(seq 50); do ask -o /dev/null "http://$address:8080/health" 2>/dev/null && break; sleep 0.1; done
  equal "an upload to the image alone" "$(spools "$address:8080")" 201
  docker rm -f alone >/dev/null
  compose $file stop dify2
  equal "20 users without dify2" "$(for user in $(seq 20); do
    chat "$user" hello blocking -o /dev/null -w '%{http_code}\n'
  done | sort | uniq -c | xargs)" "20 200"
  compose $file up -d --wait dify2
  test_drain $file "$gateway"
  compose $file down --volumes
}

# SIGTERM while an answer streams for four seconds: it ends whole, and the exit code is 0.
test_drain() { # FILE GATEWAY
  local stream
  chat alice "tokens 40 0.1" streaming -N >"$WORK/stream" &
  stream=$!
  for _ in $(seq 100); do [ -s "$WORK/stream" ] && break; sleep 0.05; done
  ! grep -q message_end "$WORK/stream" || fail "the stream was too short to test with"
  compose "$1" stop --timeout 30 gateway
  wait "$stream" || fail "the stream was cut"
  equal "the drained stream ends with" "$(grep -o message_end "$WORK/stream")" message_end
  equal "exit code after SIGTERM" "$(of "$2" '{{.State.ExitCode}}')" 0
}

test_production() {
  local folder=$WORK/checkout/deploy gateway token command status
  # In a copy, because it writes secrets.
  mkdir "$WORK/checkout"
  cp -r deploy "$folder"
  rm -rf "$folder/secrets"
  (cd "$WORK/checkout" && readme "Production with compose")
  token=$(cat "$folder/secrets/admin_token")
  gateway=$(docker compose -f "$folder/compose.yaml" ps -q gateway)
  equal "production" "$(of "$gateway" '{{.State.Health.Status}}')" healthy
  equal "its limits" "$(of "$gateway" '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.CapDrop}}')" \
    "true 1073741824 2000000000 200 unless-stopped [ALL]"
  equal "status without the token" "$(code http://127.0.0.1:9090/status)" 403
  equal "status with it" "$(code -H "Authorization: Bearer $token" http://127.0.0.1:9090/status)" 200
  equal "what survives is in a file of the volume" "$(ask -H "Authorization: Bearer $token" \
    http://127.0.0.1:9090/metrics | grep '^difygate_store_durable')" "difygate_store_durable 1"
  # What the table of that section says, but for the end.
  grep -o '`docker[^`]*` |$' deploy/README.md | tr -d '`|' | grep -v ' stop' | while read -r command; do
    say "$command"
    status=0
    (cd "$WORK/checkout" && bash -c "$command" </dev/null >"$WORK/said" 2>&1) || status=$?
    # The Difys of the example are not there, and `status` says so.
    case $command in *' difygate status '*) equal "exit code" $status 1; status=0 ;; esac
    [ "$status" = 0 ] || { cat "$WORK/said"; fail "see above"; }
  done
  # An editor replaces the file; the mounted folder shows the new one.
  sed 's/usertoken--customer-service-v1/usertoken--new/' "$folder/config/difygate.yaml" >"$WORK/new.yaml"
  mv "$WORK/new.yaml" "$folder/config/difygate.yaml"
  compose "$folder/compose.yaml" kill -s HUP gateway
  for _ in $(seq 50); do
    [ "$(chat alice hello blocking -o /dev/null -w '%{http_code}')" = 401 ] && break
    sleep 0.1
  done
  equal "the old token after a reload" "$(chat alice hello blocking -o /dev/null -w '%{http_code}')" 401
  compose "$folder/compose.yaml" stop
  equal "exit code after SIGTERM" "$(of "$gateway" '{{.State.ExitCode}}')" 0
  compose "$folder/compose.yaml" down
}

if [ "${1:-}" = inside ]; then
  test_image
  test_opendify
  readme "Try it with compose"
  grep -q '"answer": "Echo: hello"' "$WORK/said" || fail "no answer: $(cat "$WORK/said")"
  test_dev
  test_production
  exit
fi

[ -n "${CI:-}${DIFYGATE_DOCKER_TEST:-}" ] || skip "it is run by CI and with DIFYGATE_DOCKER_TEST=1"
engine=""
work=$(mktemp -d /tmp/difygate-docker.XXXXXX)
trap cleanup EXIT
trap 'exit 130' INT TERM
prepare
make image-context STATIC_PROFILE=ci
start_engine
ENGINE=$engine WORK=$work STATIC_PROFILE=ci \
  timeout --kill-after=5 220 scripts/docker.sh inside || fail "see above (limit: 220 s)"
say "passed in $SECONDS s with engine $(docker version --format '{{.Server.Version}}'), compose $(docker compose version --short)"
