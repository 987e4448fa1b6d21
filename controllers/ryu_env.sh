#!/bin/sh
# Makes the virtual environment in which Ryu 4.34 runs: ryu_env.sh [DIRECTORY]
# Ryu's setup.py needs setuptools < 68 and finds it only without build isolation.
set -eu
directory=${1:-${VSWITCH_RYU_ENV:-${XDG_CACHE_HOME:-$HOME/.cache}/vswitch/ryu}}
[ -x "$directory/bin/python" ] && "$directory/bin/python" -c 'import eventlet, ryu' 2>/dev/null && exit 0
python3 -m venv "$directory"
"$directory/bin/pip" install --quiet --disable-pip-version-check 'setuptools<68' wheel pbr
"$directory/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation 'ryu==4.34' eventlet pyyaml
"$directory/bin/python" -c 'import eventlet, ryu'
