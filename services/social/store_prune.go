package social

import (
	"context"
	"fmt"
	"time"
)

// pruneLanes forgets up to limit lanes that have been idle for longer than idle,
// and says how many. A lane that comes back after all begins anew with whatever
// number it has reached.
func (s *store) pruneLanes(ctx context.Context, idle time.Duration, limit int) (pruned int, err error) {
	err = s.do(ctx, "prune_lanes", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `
			DELETE FROM lanes
			WHERE lane IN (
				SELECT lane
				FROM lanes
				WHERE updated_at < now() - $1::interval
				LIMIT $2
				FOR UPDATE SKIP LOCKED)`, idle, limit)
		pruned = int(tag.RowsAffected())
		return err
	})
	return pruned, err
}

// nonceBlocks is how many blocks the table of the nonces has.
func (s *store) nonceBlocks(ctx context.Context) (blocks int64, err error) {
	err = s.do(ctx, "prune_nonces", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `
			SELECT pg_relation_size('nonces') / current_setting('block_size')::bigint`).Scan(&blocks)
	})
	return blocks, err
}

// pruneNonces forgets the nonces older than age in the blocks from..to of their
// table, and says how many.
//
// No index helps to find them: one on sent_at would cost each send more than a
// look at every block once in a while does. (A BRIN costs nothing, but is worth
// nothing once the room of the old has been used for the new.) Nobody can be
// waited for in a circle: sends hold no locks on nonces that were committed, and
// all who prune go through the blocks in the same direction.
func (s *store) pruneNonces(ctx context.Context, age time.Duration, from, to int64) (pruned int, err error) {
	err = s.do(ctx, "prune_nonces", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `
			DELETE FROM nonces
			WHERE ctid >= $2::text::tid AND ctid < $3::text::tid
				AND sent_at < now() - $1::interval`, age, startOfBlock(from), startOfBlock(to))
		pruned = int(tag.RowsAffected())
		return err
	})
	return pruned, err
}

// startOfBlock is the place in a table, as Postgres writes it, that comes before
// all rows of a block.
func startOfBlock(block int64) string { return fmt.Sprintf("(%d,0)", block) }
