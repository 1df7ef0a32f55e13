#!/bin/sh
# Fetches the CQL server of the tests (Apache Cassandra, by its package name, through Maven) into a folder below
# `target/`, once: fetch.sh FOLDER. Several callers at once wait for the first.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
if [ ! -e "$folder/complete" ]; then
    mkdir -p "$folder"
    exec 9> "$folder/lock"
    flock 9
    if [ ! -e "$folder/complete" ]; then
        mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
            -DoutputDirectory="$folder/lib" -Dmdep.useBaseVersion=true
        : > "$folder/complete"
    fi
fi
