#!/usr/bin/env bash
# Writes secrets.env beside itself, once: the passwords of docker-compose.yml. It is git-ignored.
set -euo pipefail
cd "$(dirname "$0")"
if [[ -e secrets.env ]]; then
  echo "infra/docker/secrets.env is there already; remove it only together with the volumes."
  exit 0
fi
umask 077
password() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
admin=$(password)
owner=$(password)
cat > secrets.env <<END
POSTGRES_PASSWORD=$admin
CIRCLES_STACK_POSTGRES_ADMIN_PASSWORD=$admin
CIRCLES_POSTGRES_PASSWORD=$owner
CIRCLES_OPERATOR_PASSWORD=$(password)
CIRCLES_ANALYST_PASSWORD=$(password)
CIRCLES_KAFKA_PASSWORD=$(password)
CIRCLES_STACK_KAFKA_INTERNAL_PASSWORD=$(password)
CIRCLES_DAGSTER_STORAGE_URL=postgresql+psycopg2://circles_owner:$owner@postgres:5432/circles_dagster
END
echo "infra/docker/secrets.env is written. Next: docker compose up --build"
