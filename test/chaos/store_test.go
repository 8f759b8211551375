package chaos

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"pymessage/internal/bell"
)

// contentSQL is what stands for an event in a history: see requestOf.
const contentSQL = `CASE kind WHEN 1 THEN content WHEN 2 THEN 'the request of ' || peer ELSE '' END`

// waiting counts the different messages and friend requests that each inbox holds.
func waiting(ctx context.Context, url string) (map[int]int, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `
		SELECT user_id, count(DISTINCT `+contentSQL+`)
		FROM social.events
		WHERE kind IN (1, 2)
		GROUP BY user_id`)
	if err != nil {
		return nil, err
	}
	out := map[int]int{}
	var user, messages int
	_, err = pgx.ForEachRow(rows, []any{&user, &messages}, func() error {
		out[user] = messages
		return nil
	})
	return out, err
}

// inboxes is the whole log.
func inboxes(ctx context.Context, url string) (map[int]Inbox, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	out := map[int]Inbox{}
	rows, err := conn.Query(ctx, `SELECT user_id, head FROM social.inboxes`)
	if err != nil {
		return nil, err
	}
	var user int
	var head int64
	_, err = pgx.ForEachRow(rows, []any{&user, &head}, func() error {
		out[user] = Inbox{Head: head}
		return nil
	})
	if err != nil {
		return nil, err
	}
	rows, err = conn.Query(ctx, `SELECT user_id, seq, peer, `+contentSQL+` FROM social.events ORDER BY user_id, seq`)
	if err != nil {
		return nil, err
	}
	var m Stored
	_, err = pgx.ForEachRow(rows, []any{&user, &m.Seq, &m.Sender, &m.Content}, func() error {
		inbox := out[user]
		inbox.Stored = append(inbox.Stored, m)
		out[user] = inbox
		return nil
	})
	return out, err
}

// cutSubscribers closes all connections of Redis that subscribe.
func cutSubscribers(ctx context.Context, url string) error {
	rdb, err := bell.Connect(url)
	if err != nil {
		return err
	}
	defer rdb.Close()
	if err := rdb.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
		return fmt.Errorf("CLIENT KILL: %w", err)
	}
	return nil
}

// slowCommits has every commit wait before it is written, or not any more. Postgres
// does that only where commits are durable.
func slowCommits(ctx context.Context, url string, slow bool) error {
	statements := []string{"ALTER SYSTEM RESET commit_delay", "ALTER SYSTEM RESET commit_siblings"}
	if slow {
		const microseconds = 100_000 // the most that Postgres takes
		statements = []string{
			fmt.Sprintf("ALTER SYSTEM SET commit_delay = %d", microseconds), "ALTER SYSTEM SET commit_siblings = 0",
		}
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, statement := range append(statements, "SELECT pg_reload_conf()") {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// commits is a commit of its own in Postgres, as often as it is called.
type commits struct {
	url  string
	conn *pgx.Conn
}

// commit makes one, or a connection for the next time.
func (c *commits) commit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	if c.conn == nil {
		conn, err := pgx.Connect(ctx, c.url)
		if err == nil {
			_, err = conn.Exec(ctx, `CREATE TABLE IF NOT EXISTS public.pulse (beat integer)`)
			c.conn = conn
		}
		return err
	}
	_, err := c.conn.Exec(ctx, `INSERT INTO public.pulse VALUES (1)`)
	if err != nil {
		c.close()
	}
	return err
}

func (c *commits) close() {
	if c.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), writePatience)
	defer cancel()
	_ = c.conn.Close(ctx) // it may be broken
	c.conn = nil
}
