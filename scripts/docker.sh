#!/usr/bin/env bash
# The ways to get and run difygate, on a real Docker engine of our own and in a root of Debian: `make docker-test`.
# The stages, in this order, are the files scripts/docker/stage-*.sh; STAGES= chooses some. They share the engine and
# the image. A stage that cannot run here says so in its last line.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/docker/common.sh
. scripts/docker/engine.sh
. scripts/docker/image.sh

STAGES=${STAGES:-clone image production dist swarm}
declare -A LIMIT=([clone]=900 [image]=120 [production]=120 [dist]=400 [swarm]=400) # seconds, against hanging

cleanup() {
  local status=$?
  [ -z "${mirrors:-}" ] || kill "$mirrors" 2>/dev/null || true
  stop_engine "$status"
  rm -rf "$WORK" || say "left behind: $WORK"
  [ "$status" != 77 ] || status=0
  exit "$status"
}

run_stage() { # NAME
  local status=0 from=$SECONDS
  STAGE=$1 timeout --kill-after=5 "${LIMIT[$1]}" bash -euo pipefail -c ". scripts/docker/common.sh; . scripts/docker/stage-$1.sh" ||
    status=$?
  case $status in
    0) say "$1: passed in $((SECONDS - from)) s" ;;
    77) said+=" $1 skipped;" ;;
    *) fail "$1: see above (exit code $status, limit ${LIMIT[$1]} s)" ;;
  esac
}

# Whether the Dockerfile has made an image of just this binary before; else the first stage does.
IMAGE_TAR=""
known_image() {
  local hash
  hash=$(cat Dockerfile .dockerignore compose.yaml "$TARGET/image/difygate" | sha256sum | cut -c1-16)
  IMAGE_TAR=$CACHE/image-$hash.tar
  if [ -f "$IMAGE_TAR" ]; then docker load --quiet <"$IMAGE_TAR"; else rm -f "$CACHE"/image-*.tar; fi
}

[ -n "${CI:-}${DIFYGATE_DOCKER_TEST:-}" ] || { say "skipped: it is run by CI and with DIFYGATE_DOCKER_TEST=1"; exit 0; }
ENGINE="" said=""
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-target}")
CACHE=$TARGET/docker-test
WORK=$(mktemp -d /tmp/difygate-docker.XXXXXX)
MIRRORS=172.17.0.1:8099
trap cleanup EXIT
trap 'exit 130' INT TERM
mkdir -p "$CACHE"
prepare
make image-context STATIC_PROFILE=ci
SECONDS=0
start_engine
known_image
debian_root || say "a root of Debian 13 cannot be made here"
rustup_mirror
scripts/docker/mirrors.py "$ENGINE" "${MIRRORS#*:}" "$CACHE/rustup-$(rustc --version | cut -d' ' -f2)" "$(debian_mirror)" \
  >"$WORK/mirrors.log" 2>&1 </dev/null &
mirrors=$!
until_true 10 grep -q ready "$WORK/mirrors.log" || cat "$WORK/mirrors.log"
export ENGINE WORK CACHE TARGET IMAGE_TAR MIRRORS STATIC_PROFILE=ci
ROOT=$CACHE/debian-13.tar
export ROOT
for stage in $STAGES; do run_stage "$stage"; done
say "passed in $SECONDS s with engine $(docker version --format '{{.Server.Version}}'), compose $(docker compose version --short)${said:+;$said}"
