#!/bin/sh
# Makes the roles of the services and their schemas, or brings existing ones into
# this state: each role owns the schema of its name, finds its tables there, and
# can neither see into another's nor create anything in public. It may run again
# at any time, for example to change the passwords.
#
# The official Postgres image runs it on an empty data folder. Elsewhere psql's own
# variables (PGHOST, PGUSER, PGPASSWORD, PGDATABASE) say where; that user must be
# allowed to create roles. The passwords come from ACCOUNTS_DB_PASSWORD and
# SOCIAL_DB_PASSWORD.
set -eu

: "${ACCOUNTS_DB_PASSWORD:?is the password of the role accounts}"
: "${SOCIAL_DB_PASSWORD:?is the password of the role social}"
# psql reads them by itself: on a command line everybody on the machine would see
# them.
export ACCOUNTS_DB_PASSWORD SOCIAL_DB_PASSWORD

# What one role gets. psql knows neither functions nor loops; the statements are
# written by the server's own quoting and then run one by one (\gexec).
provision() {
	cat <<-SQL
		\\getenv password $2
		SELECT statement FROM (VALUES
			(1, CASE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$1') THEN 'CREATE ROLE $1' END),
			(2, format('ALTER ROLE $1 LOGIN PASSWORD %L', :'password')),
			(3, 'ALTER ROLE $1 SET search_path = $1'),
			(4, 'GRANT $1 TO CURRENT_USER'),
			(5, 'CREATE SCHEMA IF NOT EXISTS $1 AUTHORIZATION $1'),
			(6, 'REVOKE ALL ON SCHEMA $1 FROM PUBLIC')
		) AS steps (step, statement) WHERE statement IS NOT NULL ORDER BY step \\gexec
	SQL
}

{
	# The lock is that of the programs' own provisioning.
	cat <<-'SQL'
		BEGIN;
		SET LOCAL client_min_messages = warning;
		SELECT pg_advisory_xact_lock(x'70796d73'::int);
		REVOKE CREATE ON SCHEMA public FROM PUBLIC;
	SQL
	provision accounts ACCOUNTS_DB_PASSWORD
	provision social SOCIAL_DB_PASSWORD
	echo 'COMMIT;'
} | psql --no-psqlrc --quiet --output=/dev/null --set=ON_ERROR_STOP=1 \
	${POSTGRES_USER:+--username="$POSTGRES_USER"} ${POSTGRES_DB:+--dbname="$POSTGRES_DB"}
