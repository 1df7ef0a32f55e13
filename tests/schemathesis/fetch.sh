#!/bin/sh
# Installs schemathesis, as requirements.txt says to the byte, into a folder below `target/`, once: fetch.sh FOLDER. Several
# callers at once wait for the first. requirements.txt is made from requirements.in, on Python 3.11:
#   pip-compile --generate-hashes --strip-extras --no-header --output-file requirements.txt requirements.in
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
mkdir -p "$folder"
exec 9> "$folder/lock"
flock 9
if ! cmp -s "$here/requirements.txt" "$folder/installed.txt"; then
    rm -rf "$folder/venv" "$folder/installed.txt"
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$folder/installed.txt"
fi
