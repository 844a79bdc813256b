# shellcheck shell=bash
# What the stages share. ENGINE is the engine's process, WORK a folder of this run, CACHE one that stays.
# STAGE is the stage that runs.

say() { echo "docker-test: $*"; }
skip() { say "${STAGE:+$STAGE }skipped: $*"; exit 77; }
fail() { say "${STAGE:+$STAGE }FAILED: $*" >&2; exit 1; }

inside() { nsenter --target "$ENGINE" --net "$@"; }
ask() { inside curl -sS --max-time 20 "$@"; }
of() { docker inspect --format "$2" "$1"; } # CONTAINER FORMAT
equal() { [ "$2" = "$3" ] || fail "$1: '$2' instead of '$3'"; say "$1: $2"; } # WHAT FOUND EXPECTED
code() { ask -o /dev/null -w '%{http_code}' "$@"; }
compose() { docker compose -f "$@" 2>"$WORK/compose.log" || { cat "$WORK/compose.log"; return 1; }; }

until_true() { # SECONDS COMMAND…
  local end=$((SECONDS + $1))
  until "${@:2}" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}

chat() { # USER QUERY MODE ARGUMENTS OF CURL…
  ask "http://127.0.0.1:8080/v1/chat-messages" -H 'Authorization: Bearer usertoken--customer-service-v1' \
    -H 'Content-Type: application/json' "${@:4}" \
    -d "{\"inputs\": {}, \"query\": \"$2\", \"response_mode\": \"$3\", \"user\": \"$1\"}"
}

# A body beyond `memory_body` is spooled; the folder for that must be writable.
spools() { # ADDRESS
  head -c 1500000 /dev/zero >"$WORK/file.txt"
  code "http://$1/v1/files/upload" -H 'Authorization: Bearer usertoken--customer-service-v1' \
    -F user=alice -F "file=@$WORK/file.txt;type=text/plain"
}

# All commands of a section of deploy/README.md, as printed, in this folder.
readme() { # SECTION
  say "deploy/README.md, $1"
  awk -v section="## $1" '/^## / { inside = $0 == section } /^```/ { code = /^```sh/; next } inside && code' \
    deploy/README.md >"$WORK/commands.sh"
  [ -s "$WORK/commands.sh" ] || fail "this section has no commands"
  inside bash -euxo pipefail "$WORK/commands.sh" >"$WORK/said" 2>&1 </dev/null || { cat "$WORK/said"; return 1; }
}
