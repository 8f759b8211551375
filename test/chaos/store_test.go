package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"pymessage/internal/bell"
)

// kindNames are the kinds of events by their numbers in the store.
var kindNames = []string{
	"", kindMessage, kindRequest, kindAdded, kindRemoved, kindSent, kindClosed, kindBlocked, kindUnblocked, kindTombstone,
}

// inboxes is the whole log, with its times since began.
func inboxes(ctx context.Context, url string, began time.Time) (map[int]Inbox, error) {
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
	rows, err = conn.Query(ctx, `SELECT user_id, seq, peer, kind, content, sent_at FROM social.events ORDER BY user_id, seq`)
	if err != nil {
		return nil, err
	}
	var m Stored
	var kind int
	var sentAt time.Time
	_, err = pgx.ForEachRow(rows, []any{&user, &m.Seq, &m.Sender, &kind, &m.Content, &sentAt}, func() error {
		m.Kind, m.At = kindNames[kind], sentAt.Sub(began)
		inbox := out[user]
		inbox.Stored = append(inbox.Stored, m)
		out[user] = inbox
		return nil
	})
	return out, err
}

// departing counts the deleted accounts of which social may still have something.
func departing(ctx context.Context, url string) (n int, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, `SELECT count(*) FROM accounts.outbox`).Scan(&n)
	return n, err
}

// endLeases lets deleted accounts be worked on at once which a pod was working on when it
// was killed: it would be a minute until another one does.
func endLeases(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `UPDATE accounts.outbox SET due_at = now() WHERE due_at > now() + interval '5 s'`)
	return err
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
