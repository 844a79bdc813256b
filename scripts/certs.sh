#!/bin/sh
# Makes, for development: ca.pem and ca.key (an authority, kept if it is there), gateway.pem and
# gateway.key (a certificate for $HOSTS, parted by blanks, and for this machine's own addresses).
set -eu
folder=${CERTS:-certs}
names="IP:127.0.0.1,IP:::1"
for host in ${HOSTS:-localhost}; do names="DNS:$host,$names"; done
command -v openssl >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq openssl; } || \
  { echo "openssl is missing and could not be installed: install it" >&2; exit 1; }

umask 077
mkdir -p "$folder"
cd "$folder"
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
# shellcheck disable=SC2086
[ -s ca.pem ] || openssl req -x509 $key -keyout ca.key -out ca.pem -days 3650 \
  -subj "/CN=difygate development" 2>/dev/null
# shellcheck disable=SC2086
openssl req $key -keyout gateway.key -out gateway.csr -subj "/CN=difygate" 2>/dev/null
printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' "$names" >gateway.ext
openssl x509 -req -in gateway.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 \
  -extfile gateway.ext -out gateway.pem 2>/dev/null
rm -f gateway.csr gateway.ext ca.srl
echo "$folder: gateway.pem and gateway.key for $names; clients trust ca.pem"
