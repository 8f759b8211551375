#!/bin/sh
# What the public image of Postgres does at its start, as far as the stack needs it:
# an empty data folder gets a database, its password and the scripts for it.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	echo "$POSTGRES_PASSWORD" >/tmp/password
	initdb --pgdata="$PGDATA" --username=postgres --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C >/dev/null
	rm /tmp/password
	echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
	pg_ctl --pgdata="$PGDATA" --wait --options="-c listen_addresses=''" start >/dev/null
	createdb --username=postgres "$POSTGRES_DB"
	for script in /docker-entrypoint-initdb.d/*.sh; do
		POSTGRES_USER=postgres "$script"
	done
	pg_ctl --pgdata="$PGDATA" --wait --mode=fast stop >/dev/null
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' "$@"
