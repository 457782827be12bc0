#!/bin/sh
# The one command-line tool that this image carries: health checks ask the broker for its configuration.
exec /opt/java/bin/java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*' \
    -Dlog4j2.configurationFile=/etc/kafka/docker/tools-log4j2.yaml kafka.admin.ConfigCommand "$@"
