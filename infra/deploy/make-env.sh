#!/bin/sh
# Makes the passwords of docker-compose.yml, each of 32 random bytes, into .env, which only its owner can read.
# Never touches one that is there: the databases were made with it.
set -eu
cd "$(dirname -- "$0")/../.."
target=${1:-.env}
if [ -e "$target" ]; then
    printf 'error: %s is there already.\n\nThe volumes were made with its passwords; others would open nothing.\n\nfix: Use it, or remove both: docker compose down --volumes, then rm %s\n' "$target" "$target" >&2
    exit 3
fi
word() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
# Kafka's cluster id is a UUID in base64url: 22 characters, and none that a shell or a URL could take for its own.
cluster() { head -c 16 /dev/urandom | base64 | tr '+/' 'Aa' | cut -c1-22; }
umask 077
{
    printf 'POSTGRES_PASSWORD=%s\n' "$(word)"
    printf 'REDIS_PASSWORD=%s\n' "$(word)"
    printf 'GRAFANA_PASSWORD=%s\n' "$(word)"
    printf 'KAFKA_CLUSTER_ID=%s\n' "$(cluster)"
    printf '# With the profile "watch", for good: where traces go.\n'
    printf '# MOOT_OTLP_ENDPOINT=http://collector:4318\n'
} > "$target"
printf 'Made %s. Grafana: admin, with the password in there.\n' "$target" >&2
