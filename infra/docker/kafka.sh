#!/usr/bin/env bash
# Entry point of the Kafka container: the embedded stack's configuration, SASL users made when the
# data folder is formatted. Passwords come from secrets.env.
set -euo pipefail
configuration=/tmp/server.properties
data=/var/lib/kafka/data
umask 077
sed -e 's/^#.*//' \
    -e "s/{bind}/0.0.0.0/" -e "s/{advertised}/kafka/" \
    -e "s/{port}/9092/g" -e "s/{controller_port}/9093/g" \
    -e "s/{password}/$CIRCLES_STACK_KAFKA_INTERNAL_PASSWORD/g" -e "s#{data}#$data#" \
    /opt/circles/server.properties.template > "$configuration"
if [[ ! -f $data/meta.properties ]]; then
  /opt/kafka/bin/kafka-storage.sh format --standalone --config "$configuration" \
    --cluster-id "$(/opt/kafka/bin/kafka-storage.sh random-uuid)" \
    --add-scram "SCRAM-SHA-256=[name=circles,password=$CIRCLES_KAFKA_PASSWORD]" \
    --add-scram "SCRAM-SHA-256=[name=broker,password=$CIRCLES_STACK_KAFKA_INTERNAL_PASSWORD]"
fi
exec /opt/kafka/bin/kafka-server-start.sh "$configuration"
