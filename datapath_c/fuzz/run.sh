#!/bin/sh
# Runs each fuzz target for a bounded time, from the corpus of earlier runs and, where there is one, from what long runs have left in
# corpus/TARGET.tar.xz (minimised: fuzz_TARGET -merge=1 NEW OLD). Usage: run.sh BUILD_DIR SECONDS
set -eu
here=$(dirname "$0")
# What the undefined-behaviour sanitizer says is an end, as what the other one says is.
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
one() {
  target=$1 build=$2 seconds=$3
  length=1500
  [ "$target" != vhost_ring ] || length=16000    # a whole memory
  corpus=$build/corpus/$target log=$build/fuzz_$target.log
  seeds=$build/seeds/$target
  rm -rf "$seeds"
  mkdir -p "$corpus" "$seeds"
  [ ! -e "$here/corpus/$target.tar.xz" ] || tar -xJf "$here/corpus/$target.tar.xz" -C "$seeds"
  if ! "$build/datapath_c/fuzz/fuzz_$target" -max_total_time="$seconds" -max_len="$length" -print_final_stats=1 \
      -artifact_prefix="$build/" "$corpus" "$seeds" >"$log" 2>&1; then
    tail -n 40 "$log"
    echo "fuzz_$target failed; the input is in $build"
    return 1
  fi
  echo "fuzz_$target: $(sed -n 's/stat::number_of_executed_units: *//p' "$log") inputs in $seconds s"
}

# Two at a time: each is one thread.
for pair in "frames flow_mods" "tunnel codec" "vhost_ring vhost_messages"; do
  started=
  for target in $pair; do
    one "$target" "$1" "$2" &
    started="$started $!"
  done
  bad=0
  for pid in $started; do
    wait "$pid" || bad=1
  done
  [ $bad = 0 ] || exit 1
done
