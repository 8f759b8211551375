package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Role is a service's own Postgres role, and the schema of the same name that it
// owns.
type Role struct {
	Name     string
	Password string
}

// provisionLock keeps two provisioning runs on one database apart.
const provisionLock = 0x70796d73

// Provision creates the roles and their schemas in the database at adminURL, or
// brings existing ones (their passwords, search paths and grants) into this
// state: each role owns the schema of its name, finds its tables there, and can
// neither see into another's nor create anything in public. adminURL must belong
// to a role that may create roles.
func Provision(ctx context.Context, adminURL string, roles ...Role) error {
	conn, err := pgx.Connect(ctx, adminURL)
	if err != nil {
		return fmt.Errorf("connecting to provision roles: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, provisionLock); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`); err != nil {
			return fmt.Errorf("closing schema public: %w", err)
		}
		for _, r := range roles {
			if err := provisionRole(ctx, tx, r); err != nil {
				return fmt.Errorf("provisioning role %s: %w", r.Name, err)
			}
		}
		return nil
	})
}

// provisionRole writes names and the password into the statements with the
// server's own quoting, since utility statements take no arguments.
func provisionRole(ctx context.Context, tx pgx.Tx, r Role) error {
	var statements []string
	err := tx.QueryRow(ctx, `
		SELECT array_remove(ARRAY[
			CASE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = $1::text)
			     THEN format('CREATE ROLE %I', $1::text) END,
			format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text),
			format('ALTER ROLE %I SET search_path = %I', $1::text, $1::text),
			format('GRANT %I TO CURRENT_USER', $1::text),
			format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', $1::text, $1::text),
			format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', $1::text)
		], NULL)`, r.Name, r.Password).Scan(&statements)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if _, err := tx.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
