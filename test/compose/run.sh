#!/usr/bin/env bash
# Builds the images, brings the whole stack up with three gateways and tests it, then
# takes it down. It uses the Docker daemon that there is, or else, as root, one of its
# own (Debian's package docker.io) that it stops in the end. Nothing is pulled: the
# public images have stand-ins, see bases.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
keep=${COMPOSE_TEST_DIR:-$PWD/.data/compose} # images, modules and tools for the next run
mkdir -p "$keep"

# The plugin, or the program, or what we build from its source.
if docker compose version >/dev/null 2>&1; then
	compose=(docker compose)
elif docker-compose version 2>/dev/null | grep -q 'v2\|version v'; then
	compose=(docker-compose)
else
	compose=("$keep/docker-compose")
	if [ ! -x "${compose[0]}" ]; then
		echo "building docker compose"
		module=$(cd /tmp && go mod download -json github.com/docker/compose/v2@v2.40.3 | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
		(cd "$module" && go build -mod=readonly -o "${compose[0]}" ./cmd)
	fi
fi

daemon=
finish() {
	status=$?
	[ "$status" = 0 ] || "${compose[@]}" logs --tail 30 || true
	"${compose[@]}" down --volumes --timeout 20 >/dev/null 2>&1 || true
	[ -z "$daemon" ] || { kill "$daemon" && wait "$daemon" || true; }
	exit "$status"
}

if ! docker info >/dev/null 2>&1; then
	command -v dockerd >/dev/null || { echo "there is no Docker daemon, and no dockerd to start one: install docker.io" >&2; exit 1; }
	export DOCKER_HOST=unix://$keep/docker.sock
	dockerd --data-root "$keep/data" --exec-root "$keep/exec" --pidfile "$keep/pid" --host "$DOCKER_HOST" >"$keep/dockerd.log" 2>&1 &
	daemon=$!
	for _ in $(seq 100); do
		docker info >/dev/null 2>&1 && break
		kill -0 "$daemon" 2>/dev/null || { tail -3 "$keep/dockerd.log" >&2; exit 1; }
		sleep 0.3
	done
fi

export COMPOSE_PROJECT_NAME=pymessage-test COMPOSE_FILE=docker-compose.yml:test/compose/override.yml
export VERSION=compose-test COMMIT=test PORT=${PORT:-16969} PROMETHEUS_PORT=${PROMETHEUS_PORT:-19090}
export EDGE_SUBNET=172.30.70.0/24 GO_IMAGE=pymessage-base/go:local
for name in INTERNAL_SECRET PIN_PEPPER POSTGRES_PASSWORD ACCOUNTS_DB_PASSWORD SOCIAL_DB_PASSWORD REDIS_PASSWORD GRAFANA_PASSWORD; do
	export "$name=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')"
done
trap finish EXIT

made=$(cat go.sum test/compose/bases.sh test/compose/postgres-entrypoint.sh | cksum)
if [ "$(cat "$keep/made" 2>/dev/null)" != "$made" ] || ! docker image inspect pymessage-base/go:local >/dev/null 2>&1; then
	test/compose/bases.sh "$keep"
	echo "$made" >"$keep/made"
fi
"${compose[@]}" build gateway accounts social
"${compose[@]}" up --detach --wait --scale gateway=3
"${compose[@]}" ps --format '{{.Service}} {{.Status}}'
COMPOSE="${compose[*]}" go test -count=1 -tags compose -v ./test/compose
