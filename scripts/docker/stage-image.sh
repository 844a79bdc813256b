# shellcheck shell=bash
# `make image`: the binary of this machine in the same image, and difygate in place of OpenDify.
readme "A container"
say "image: $(of difygate '{{.Size}}') bytes, $(docker run --rm difygate --version)"
equal "the image's user" "$(of difygate '{{.Config.User}}')" 65532:65532

# "A first configuration in a container" asks on a terminal; the same without one.
mkdir -m 700 "$WORK/conf"
docker run --rm -u "$(id -u):$(id -g)" -v "$WORK/conf:/conf" difygate init --app shop=app-key@http://127.0.0.1:5001 \
  /conf/difygate.yaml >"$WORK/said" 2>&1 || fail "init: $(cat "$WORK/said")"
equal "the mode of what init wrote" "$(stat -c %a "$WORK/conf/difygate.yaml")" 600
docker run --rm -u "$(id -u):$(id -g)" -v "$WORK/conf:/conf:ro" difygate check /conf/difygate.yaml >/dev/null ||
  fail "check of what init wrote"

readme "In place of OpenDify"
until_true 10 ask -o /dev/null http://127.0.0.1:5000/health || fail "it does not serve"
equal "its models" "$(ask http://127.0.0.1:5000/v1/models -H 'Authorization: Bearer sk-change-me' |
  grep -o '"id":"[^"]*"')" '"id":"customer-service"'
docker rm -f difygate >/dev/null
