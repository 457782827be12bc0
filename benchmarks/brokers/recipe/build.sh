#!/usr/bin/env bash
# Builds an Apache Kafka image out of parts at hand, for machines that reach no container registry:
# a jlink'ed Java runtime, this machine's C library and shell, the broker's jars by Maven.
#
#   benchmarks/brokers/recipe/build.sh [IMAGE]      (default apache/kafka:4.1.0-local)
#
# Needs Linux, JDK 17 or later with its jmods, objcopy, mvn and a running Docker engine.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=4.1.0
image=${1:-apache/kafka:$version-local}

for tool in mvn jlink objcopy ldd docker; do
    type -P "$tool" >/dev/null || { echo "build.sh: '$tool' is not on the PATH" >&2; exit 1; }
done

# What `jdeps` finds for the broker, and what it loads by name (SASL, JMX, elliptic curves).
modules=java.base,java.compiler,java.desktop,java.logging,java.management,java.naming,java.rmi,java.scripting
modules+=,java.security.jgss,java.security.sasl,java.sql,java.xml
modules+=,jdk.crypto.ec,jdk.management,jdk.management.agent,jdk.net,jdk.unsupported

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/rootfs
mkdir -p "$root"/{bin,etc,opt/kafka/{libs,config},mnt/shared/config,var/lib/kafka/data,home/appuser} "$work/context"
install -d -m 1777 "$root/tmp"

echo "== the broker's jars"
mvn -q -B -f "$here/pom.xml" -Dkafka.version="$version" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$root/opt/kafka/libs"
cp -r "$here/image/." "$root/"
chmod 755 "$root/etc/kafka/docker/run" "$root/opt/kafka/bin/kafka-configs.sh"

echo "== a Java runtime of only the modules that a broker uses"
jlink --add-modules "$modules" --strip-debug --no-header-files --no-man-pages --output "$root/opt/java"
"$root/opt/java/bin/java" -Xshare:dump >/dev/null   # class data sharing: a quicker start

echo "== a shell, and the shared libraries of all programs at their own paths"
for program in sh sleep cat ls mkdir id env hostname; do
    cp -L "$(type -P "$program")" "$root/bin/"
done
ldd "$root"/bin/* "$root"/opt/java/bin/java "$root"/opt/java/lib/{libnet,libzip,server/libjvm}.so |
    awk '$2 == "=>" && $3 ~ /^\/(usr\/)?lib/ {print $3} $1 ~ /ld-linux/ {print $1}' | sort -u |
    while read -r library; do install -D "$library" "$root$library"; done
libc=$(ldd /bin/sh | awk '$1 ~ /^libc.so/ {print $3}')
for library in libpthread.so.0 libdl.so.2 librt.so.1; do   # zstd-jni, unpacked at run time, asks for these
    if [ -e "${libc%/*}/$library" ]; then install -D "${libc%/*}/$library" "$root${libc%/*}/$library"; fi
done
printf 'root:x:0:0::/:/bin/sh\nappuser:x:1000:1000::/home/appuser:/bin/sh\n' > "$root/etc/passwd"
printf 'root:x:0:\nappuser:x:1000:\n' > "$root/etc/group"
printf 'hosts: files dns\n' > "$root/etc/nsswitch.conf"
chmod 1777 "$root"/{opt/kafka/config,mnt/shared/config,var/lib/kafka/data,home/appuser}   # the broker is not root

echo "== the image $image"
tar -C "$root" --owner=0 --group=0 --numeric-owner -cf "$work/context/rootfs.tar" .   # a tar keeps modes, COPY would not
DOCKER_BUILDKIT=0 docker build -q -t "$image" -f "$here/Dockerfile" "$work/context" 2>"$work/build.log" ||
    { cat "$work/build.log" >&2; exit 1; }
