# shellcheck shell=bash
# deploy/compose.yaml as its page says it, in a copy, because secrets are written there.
docker image inspect difygate:latest >/dev/null 2>&1 || make image
folder=$WORK/checkout/deploy
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
refused() { [ "$(chat alice hello blocking -o /dev/null -w '%{http_code}')" = 401 ]; }
until_true 10 refused || fail "the old token is taken after a reload"
compose "$folder/compose.yaml" stop
equal "exit code after SIGTERM" "$(of "$gateway" '{{.State.ExitCode}}')" 0
compose "$folder/compose.yaml" down --volumes
