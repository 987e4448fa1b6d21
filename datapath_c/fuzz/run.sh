#!/bin/sh
# Runs each fuzz target for a bounded time, from the corpus of earlier runs and, where there is one, from what long runs have left in
# corpus/TARGET.tar.xz (minimised: fuzz_TARGET -merge=1 NEW OLD). Usage: run.sh BUILD_DIR SECONDS
set -eu
here=$(dirname "$0")
# What the undefined-behaviour sanitizer says is an end, as what the other one says is.
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
for target in frames flow_mods tunnel codec vhost_ring vhost_messages; do
  length=1500
  [ $target != vhost_ring ] || length=16000    # a whole memory
  corpus=$1/corpus/$target log=$1/fuzz_$target.log
  seeds=$1/seeds/$target
  rm -rf "$seeds"
  mkdir -p "$corpus" "$seeds"
  [ ! -e "$here/corpus/$target.tar.xz" ] || tar -xJf "$here/corpus/$target.tar.xz" -C "$seeds"
  if ! "$1/datapath_c/fuzz/fuzz_$target" -max_total_time="$2" -max_len="$length" -print_final_stats=1 \
      -artifact_prefix="$1/" "$corpus" "$seeds" >"$log" 2>&1; then
    tail -n 40 "$log"
    echo "fuzz_$target failed; the input is in $1"
    exit 1
  fi
  echo "fuzz_$target: $(sed -n 's/stat::number_of_executed_units: *//p' "$log") inputs in $2 s"
done
