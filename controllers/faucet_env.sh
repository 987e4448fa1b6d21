#!/bin/sh
# Makes a virtual environment of Faucet, which pins an older os-ken. Usage: faucet_env.sh DIRECTORY
set -eu
test -f "$1/.ready" && exit 0
python3 -m venv "$1"
"$1/bin/pip" install -q --disable-pip-version-check "setuptools<68" wheel pbr
"$1/bin/pip" install -q --disable-pip-version-check --no-build-isolation "faucet==1.10.12"
touch "$1/.ready"
