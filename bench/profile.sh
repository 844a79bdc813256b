#!/bin/sh
# profile.sh TARGET SPEED: counts how often each branch of difygate is taken by the works that SPEED measures
# (profile-guided optimization) and writes TARGET/profiling/difygate.profdata for `-C profile-use`. The build that
# counts has the FLAGS of the one that uses it, because functions are found again by names that depend on them.
set -eu
target=$(mkdir -p "$1" && cd "$1" && pwd)
speed=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
cargo=${CARGO:-cargo}
host=$(rustc -vV | sed -n 's/^host: //p')
folder=$target/profiling
counts=$folder/counts
profile=$folder/difygate.profdata

# The compiler's own, if rustup has installed it, else Debian's, which must not be much older than the compiler.
merger() {
  for one in "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" llvm-profdata llvm-profdata-22 \
    llvm-profdata-21 llvm-profdata-20 llvm-profdata-19; do
    version=$("$one" --version 2>/dev/null | sed -n 's/.*LLVM version \([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 19 ] && echo "$one" && return
  done
  return 1
}

merger >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends llvm-19; } >/dev/null 2>&1 || true
merge=$(merger) || {
  echo "there is no llvm-profdata of LLVM 19 or later: rustup component add llvm-tools, or apt-get install llvm-19" >&2
  exit 1
}

echo "profile: building difygate with counters" >&2
RUSTFLAGS="${FLAGS:-} -C profile-generate=$counts" "$cargo" build --release --locked --quiet --bin difygate \
  --target "$host" --target-dir "$folder"

echo "profile: a minute of work" >&2
rm -rf "$counts"
# Its results are nobody's business: they are slow, because it counts.
(cd "$folder" && BENCH_DIFYGATE=$folder/$host/release/difygate BENCH_CONTENDERS=difygate \
  BENCH_WORKS=plain,full,full-8k,sse,openai,completion,upload,crowd BENCH_ROUNDS=1 BENCH_SECONDS=2 \
  "$speed" >"$folder/log" 2>&1) || { tail -n 5 "$folder/log" >&2; exit 1; }

"$merge" merge -o "$profile.next" "$counts"
mv "$profile.next" "$profile"
echo "profile: $profile" >&2
