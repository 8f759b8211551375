package stores

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// walSegments is how many segments of the log, 16 MB each, RecycleLog makes.
const walSegments = 16

// RecycleLog brings a new server to where it is after its first checkpoints, when its log
// goes into segments that were there before. To make one, Postgres writes and flushes 16 MB
// of zeros while everybody who commits waits, which a measurement is not to begin with.
func (p *Postgres) RecycleLog(ctx context.Context) (err error) {
	conn, err := pgx.Connect(ctx, p.URL())
	if err != nil {
		return fmt.Errorf("recycle the log of Postgres: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	statements := []string{fmt.Sprintf("alter system set min_wal_size = '%d MB'", 2*16*walSegments), "select pg_reload_conf()"}
	for range walSegments { // a segment is made when something is written to it
		statements = append(statements, "select pg_logical_emit_message(false, 'recycle', '')", "select pg_switch_wal()")
	}
	statements = append(statements, "checkpoint") // those before it become the next ones
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("recycle the log of Postgres: %s: %w", s, err)
		}
	}
	return nil
}
