#!/bin/sh
# others.sh PROFILE TARGET: builds the program on Pingora and installs LiteLLM's proxy below TARGET,
# if BENCH_CONTENDERS does not leave them out. Failing is no error; who is missing is left out of
# the table, with a word.
set -u
profile=$1
mkdir -p "$2"
target=$(cd "$2" && pwd)
cd "$(dirname "$0")"

asked() {
  case ",$(echo "${BENCH_CONTENDERS:-$1}" | tr '[:upper:]' '[:lower:]')," in *",$1,"*) ;; *) return 1 ;; esac
}

if asked pingora; then
  # One of its dependencies is written in C.
  command -v cmake >/dev/null 2>&1 || apt-get install -y -qq --no-install-recommends cmake >/dev/null 2>&1 ||
    echo "Pingora needs cmake, which could not be installed" >&2
  "${CARGO:-cargo}" build --quiet --locked --manifest-path pingora/Cargo.toml --profile "$profile" \
    --target-dir "$target/pingora" || echo "the program on Pingora could not be built" >&2
fi

if asked litellm; then
  version=1.106.2
  stamp=$target/litellm/installed-$version
  [ -e "$stamp" ] || { rm -rf "$target/litellm" && python3 -m venv "$target/litellm" &&
    "$target/litellm/bin/pip" install --quiet --disable-pip-version-check "litellm[proxy]==$version" &&
    touch "$stamp"; } || echo "LiteLLM's proxy could not be installed" >&2
fi
exit 0
