# shellcheck shell=bash
# deploy/swarm.yaml: a replica is killed, a rolling update, an update that fails; clients lose nothing. This kernel may
# have no virtual addresses for services, so the clients ask `tasks.*`, which names each replica, for each connection.
# It is the last stage: names of other containers would not be resolved after it.
command -v redis-server >/dev/null || skip "redis-server is not installed"
docker image inspect difygate:latest >/dev/null 2>&1 || make image

# The Redis of this machine as an image.
redis=$WORK/redis
mkdir "$redis"
{ command -v redis-server redis-cli; ldd "$(command -v redis-server)" "$(command -v redis-cli)" | grep -o '/[^ :]*' | sort -u; } |
  xargs cp --parents --dereference --target-directory "$redis" 2>/dev/null
mkdir "$redis/data"
tar -C "$redis" -c . | docker import --change 'WORKDIR /data' - redis:here >/dev/null

# As the page says it, with two simulated Difys of the stack in place of the example's.
checkout=$WORK/swarm
mkdir -p "$checkout/deploy"
cp -r deploy/swarm deploy/swarm.yaml deploy/README.md "$checkout/deploy/"
cd "$checkout" || exit
sed -i 's/host: 10\.0\.0\.\([12]\)/host: dify\1/' deploy/swarm/difygate.yaml
cat >deploy/difys.yaml <<'YAML'
version: "3.9"
services:
  dify1: &dify
    image: difygate:latest
    command: [sim, --listen, 0.0.0.0, --app, "chat=app-key-in-the-first-dify", --app, "chat=app-key-in-the-second-dify"]
    healthcheck: { test: [CMD, /usr/local/bin/difygate, health, --url, "http://127.0.0.1:5001/health"], interval: 1s }
    deploy: { endpoint_mode: dnsrr }
  dify2: *dify
YAML
docker swarm init --advertise-addr 127.0.0.1 >/dev/null
deploy() { docker stack deploy --resolve-image never -c deploy/swarm.yaml -c deploy/difys.yaml difygate; }
export REDIS_IMAGE=redis:here
readme "Docker Swarm"
deploy >"$WORK/said" 2>&1 || { cat "$WORK/said"; fail "docker stack deploy"; }

of_service() { docker ps -q --filter "label=com.docker.swarm.service.name=difygate_$1" "${@:2}"; }
replicas() { of_service gateway --filter health=healthy; }
three() { [ "$(replicas | wc -l)" = 3 ] && [ "$(of_service gateway | wc -l)" = 3 ]; }
healthy() { of_service "$1" --filter health=healthy | grep -q .; }
serving() { healthy redis && healthy dify1 && healthy dify2 && three; }
until_true 60 serving || { docker service ps --no-trunc difygate_gateway difygate_redis; fail "three replicas do not come up"; }
one=$(replicas | head -1)
equal "a replica's limits" "$(of "$one" '{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}')" \
  "500000000 536870912 true [ALL]"
equal "its time to end" "$(of difygate_gateway '{{.Spec.TaskTemplate.ContainerSpec.StopGracePeriod}}')" 21m0s

# Clients stand in the network of the stack, in the place of its Redis.
place=$(of_service redis)
from_place() { nsenter --target "$(of "$place" '{{.State.Pid}}')" --net "$@"; }
network=$(docker network inspect --format '{{.Id}}' difygate_default)
address() { of "$1" "{{range .NetworkSettings.Networks}}{{if eq .NetworkID \"$network\"}}{{.IPAddress}}{{end}}{{end}}"; }

# A conversation that one replica began goes on in another.
turn() { # REPLICA MESSAGES
  from_place curl -sS --max-time 20 -D "$WORK/head" "http://$(address "$1"):8080/v1/chat/completions" \
    -H 'Authorization: Bearer usertoken--customer-service-v1' -H 'Content-Type: application/json' \
    -d "{\"model\": \"customer_service\", \"user\": \"alice\", \"messages\": [$2]}" >"$WORK/answer"
  sed -n 's/^x-difygate-conversation: //Ip' "$WORK/head" | tr -d '\r'
}
question='{"role": "user", "content": "hello"}'
goes_on() {
  begun=$(turn "$(replicas | sed -n 1p)" "$question")
  [ -n "$begun" ] || return 1
  answer=$(python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["choices"][0]["message"]))' <"$WORK/answer")
  next=$(turn "$(replicas | sed -n 2p)" "$question, $answer, $question")
  [ "$next" = "$begun" ]
}
# Redis is out of reach for the first seconds of a new network; until then turns are served and not stored.
until_true 30 goes_on || fail "no conversation goes on in another replica: $(cat "$WORK/answer")"
equal "the conversation in another replica" "$next" "$begun"

begin() {
  rm -f "$WORK/stop"
  from_place unshare --mount sh -c "mount --bind '$(of "$place" '{{.ResolvConfPath}}')' /etc/resolv.conf && exec \"\$@\"" - \
    "$OLDPWD/scripts/docker/keep_asking.py" tasks.difygate_gateway 8080 "$WORK/stop" >"$WORK/asked" 2>&1 &
  asking=$!
}
end() { # WHAT CUT-AT-MOST
  local cut
  touch "$WORK/stop"
  wait "$asking" || { cat "$WORK/asked"; fail "the clients failed"; }
  say "$1: $(cat "$WORK/asked")"
  grep -qE '^[1-9][0-9]{2,} answered.* 0 failed$' "$WORK/asked" || fail "$1"
  cut=$(grep -o '[0-9]* cut' "$WORK/asked")
  [ "${cut% cut}" -le "$2" ] || fail "$1: $cut"
}

begin
docker kill "$(replicas | head -1)" >/dev/null
gone() { [ "$(replicas | wc -l)" -lt 3 ]; }
until_true 10 gone || fail "no replica was killed"
until_true 60 three || fail "the killed replica does not come back"
# Each of the four clients may have had a request in the killed replica.
end "one of three killed" 4

begin
replicas | sort >"$WORK/before"
docker service update --force --detach --quiet difygate_gateway >/dev/null
renewed() { three && [ "$(docker service inspect --format '{{.UpdateStatus.State}}' difygate_gateway)" = completed ]; }
until_true 100 renewed || { docker service ps difygate_gateway; fail "the update does not complete"; }
end "a rolling update of three" 0
equal "replicas that stayed" "$(replicas | sort | comm -12 - "$WORK/before" | wc -l)" 0
equal "how the earlier ones ended" "$(xargs -n1 docker inspect --format '{{.State.ExitCode}}' <"$WORK/before" | xargs)" "0 0 0"

begin
echo 'nonsense: 1' >>deploy/swarm/difygate.yaml
REVISION=2 deploy >/dev/null 2>&1
rolled_back() { [ "$(docker service inspect --format '{{.UpdateStatus.State}}' difygate_gateway)" = rollback_completed ] && three; }
until_true 60 rolled_back || { docker service ps --no-trunc difygate_gateway; fail "a wrong configuration is not rolled back"; }
end "an update with a wrong configuration, rolled back" 0

docker stack rm difygate >/dev/null
docker swarm leave --force >/dev/null
