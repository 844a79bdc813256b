#!/bin/sh
# Installs nginx with its Lua module and HAProxy from Debian where they are missing, without letting
# their services start: the comparison runs its own, with its own files. Failing is no error; who is missing is
# left out of the table, with a word.
set -u
missing=""
for program in nginx haproxy; do
  [ -x "/usr/sbin/$program" ] || command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
[ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] || missing="$missing libnginx-mod-http-lua"
find /usr/lib /usr/local/lib -path '*lua/5.1/cjson.so' 2>/dev/null | grep -q . || missing="$missing lua-cjson"
[ -z "$missing" ] && exit 0
command -v apt-get >/dev/null 2>&1 || { echo "not installed, and no apt-get here:$missing" >&2; exit 0; }
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  # 101 is "the service must not be started", see invoke-rc.d(8).
  printf '#!/bin/sh\nexit 101\n' 2>/dev/null > "$policy" && chmod 755 "$policy" && trap 'rm -f "$policy"' EXIT
fi
# shellcheck disable=SC2086
{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >/dev/null 2>&1 ||
  echo "could not be installed:$missing (try as root: apt-get install$missing)" >&2
exit 0
