# shellcheck shell=bash
# An engine of our own, in namespaces of its own: it changes nothing of the host's network and ends with the test.

install() { # PACKAGES…; another process may have wiped apt's folder: once more
  export DEBIAN_FRONTEND=noninteractive
  for _ in 1 2; do
    timeout 60 apt-get update -qq && timeout 120 apt-get install -y -qq --no-install-recommends "$@" >/dev/null && return
    timeout 60 apt-get install -y -qq -f >/dev/null || true
  done
  return 1
}

# Where this machine has Debian from, without the slash at the end.
debian_mirror() {
  local mirror
  mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/*$')}
  echo "${mirror%/}"
}

# Compose v2 is a static program that Debian has since trixie; it runs on older ones, too.
fetch_compose() {
  local to=$DOCKER_CONFIG/cli-plugins fetch=$WORK/fetch apt
  mkdir -p "$to" "$fetch/lists/partial" "$fetch/cache/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) trixie main" \
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
    [nsenter]=util-linux [curl]=curl [debootstrap]=debootstrap)
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

start_engine() {
  export DOCKER_HOST=unix://$WORK/docker.sock
  unshare --net --mount bash -c 'ip link set lo up && exec "$@"' - dockerd --data-root "$WORK/data" \
    --exec-root "$WORK/exec" --pidfile "$WORK/dockerd.pid" --host "$DOCKER_HOST" \
    >"$WORK/dockerd.log" 2>&1 </dev/null &
  ENGINE=$!
  for _ in $(seq 100); do
    timeout 5 docker info >/dev/null 2>&1 && return
    kill -0 "$ENGINE" 2>/dev/null || break
    sleep 0.2
  done
  tail -5 "$WORK/dockerd.log"
  skip "no engine can run here"
}

stop_engine() { # STATUS: of the test
  local containerd pid
  [ -n "$ENGINE" ] || return 0
  [ "$1" = 0 ] || timeout 10 docker ps -aq | xargs -r -n1 timeout 5 docker logs --tail 20 2>&1 | tail -60
  containerd=$(cat "$WORK/exec/containerd/containerd.pid" 2>/dev/null || true)
  timeout 10 docker ps -aq | xargs -r timeout 30 docker rm -f >/dev/null || true
  kill "$ENGINE" 2>/dev/null || true
  for _ in $(seq 100); do kill -0 "$ENGINE" 2>/dev/null || break; sleep 0.1; done
  for pid in $ENGINE $containerd; do kill -9 "$pid" 2>/dev/null || true; done
  wait "$ENGINE" 2>/dev/null || true
}
