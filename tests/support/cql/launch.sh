#!/bin/sh
# Runs one CQL server until standard input ends, then kills it: it cannot outlive who holds the other end, whatever
# happens to them.
#
#   launch.sh JARS FOLDER OPTION…
#
# FOLDER holds cassandra.yaml and logback.xml, and takes everything the server writes, server.log too.
set -eu
trap '' INT
jars=$1
folder=$2
shift 2

opened=""
for package in java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch \
    java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server \
    java.sql/java.sql; do
    opened="$opened --add-exports=$package=ALL-UNNAMED"
done
for package in java.lang java.lang.module java.io java.nio java.net java.math java.util java.util.concurrent \
    java.util.concurrent.atomic sun.nio.ch jdk.internal.loader jdk.internal.ref jdk.internal.reflect \
    jdk.internal.math jdk.internal.module jdk.internal.util.jar; do
    opened="$opened --add-opens=java.base/$package=ALL-UNNAMED"
done
opened="$opened --add-opens=jdk.management/com.sun.management.internal=ALL-UNNAMED"

# shellcheck disable=SC2086 # one word per flag
java $opened -Xms256m -Xmx640m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -javaagent:"$jars/jamm-0.4.0.jar" -Djdk.attach.allowAttachSelf=true -Dio.netty.tryReflectionSetAccessible=true \
    -Dcassandra.config="file://$folder/cassandra.yaml" -Dlogback.configurationFile="file://$folder/logback.xml" \
    -Dcassandra.storagedir="$folder" -Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.ring_delay_ms=0 \
    -Dcassandra-foreground=yes -Dcassandra.superuser_setup_delay_ms=0 -Dcassandra.auth_bcrypt_gensalt_log2_rounds=4 "$@" \
    -cp "$jars/*" org.apache.cassandra.service.CassandraDaemon > "$folder/server.log" 2>&1 < /dev/null &
server=$!
echo "$server" > "$folder/pid"
cat > /dev/null
kill -9 "$server" 2> /dev/null || true
wait "$server" || true
if [ -e "$folder/remove-at-end" ]; then rm -rf "$folder"; fi
