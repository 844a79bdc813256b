# shellcheck shell=bash
# `make image`: the binary of this machine in the same image, and difygate in place of OpenDify.
readme "A container"
say "image: $(of difygate '{{.Size}}') bytes, $(docker run --rm difygate --version)"
equal "the image's user" "$(of difygate '{{.Config.User}}')" 65532:65532

readme "In place of OpenDify"
until_true 10 ask -o /dev/null http://127.0.0.1:5000/health || fail "it does not serve"
equal "its models" "$(ask http://127.0.0.1:5000/v1/models -H 'Authorization: Bearer sk-change-me' |
  grep -o '"id":"[^"]*"')" '"id":"customer-service"'
docker rm -f difygate >/dev/null
