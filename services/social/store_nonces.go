package social

import (
	"fmt"

	"github.com/jackc/pgx/v5"

	"pymessage/services/social/socialapi"
)

// A nonce is claimed by inserting its row, which makes whoever claims the same one
// wait for us. Three statements of one round trip store a batch with nonces:
//
//  1. claim all nonces, and append the messages of those that were new;
//  2. give the claimed nonces the answers of their messages, or give them back;
//  3. look up what the other nonces got at first.
//
// The third cannot be part of the first: that one does not see a row which was
// committed while it waited for it. Nor can the second, since a statement changes
// a row once. A seq of 0 is never committed: who sees it has claimed the nonce.

// repeated stands in lanes.results, until the end of the transaction, for a
// message whose nonce knows the answer.
const repeated = -100

// storeNoncesSQL is storeBatchesSQL for batches with nonces: $8 are those of the
// messages, empty where there is none.
//
// Nonces are claimed in order, and all before the first inbox is locked: the
// numbering of the messages with one nonce has to have seen them all. Claiming
// comes before the policy, since an earlier answer holds whatever the policy says
// now. Of several messages with one nonce the first that is not refused is
// appended.
func storeNoncesSQL(policy string) string {
	return `
	WITH given AS (
		SELECT m.*
		FROM unnest($3::integer[], $4::integer[], $5::integer[], $6::text[], $7::smallint[], $8::text[])
			WITH ORDINALITY AS m (batch, sender, recipient, content, verdict, nonce, place)
	), claimed AS (
		INSERT INTO nonces (sender, nonce)
		SELECT DISTINCT sender, nonce COLLATE "C" AS nonce
		FROM given
		WHERE nonce <> ''
		ORDER BY sender, nonce
		ON CONFLICT DO NOTHING
		RETURNING sender, nonce
	), fresh AS (
		SELECT g.place, g.batch, g.sender, g.recipient, g.content, g.nonce,
			CASE WHEN g.nonce <> '' AND c.nonce IS NULL THEN ` + fmt.Sprint(repeated) + ` ELSE g.verdict END AS verdict
		FROM given g
		LEFT JOIN claimed c ON c.sender = g.sender AND c.nonce = g.nonce
	), judged AS (
		SELECT m.place, m.batch, m.sender, m.recipient, m.content, m.nonce, ` + verdictSQL(policy) + ` AS verdict
		FROM fresh m
	), message AS (
		SELECT place, batch, sender, recipient, content,
			CASE WHEN nonce <> '' AND verdict = 0
				AND row_number() OVER (PARTITION BY sender, nonce, verdict ORDER BY place) > 1
			THEN ` + fmt.Sprint(repeated) + ` ELSE verdict END AS verdict
		FROM judged
	)` + appendMessagesSQL
}

// resultsSQL are the results of all messages one after the other, which this transaction
// has stored with their lanes: $1. A LIMIT keeps Postgres from reading whole tables for
// the sake of some rows, here and below: the statement may have been planned when they
// were small.
const resultsSQL = `ARRAY(
		SELECT r.seq
		FROM unnest($1::text[]) WITH ORDINALITY AS b (lane, batch),
			LATERAL (SELECT results FROM lanes WHERE lanes.lane = b.lane LIMIT 1) AS l,
			unnest(l.results) WITH ORDINALITY AS r (seq, place)
		ORDER BY b.batch, r.place)`

// settleNoncesSQL gives the nonces that this transaction claimed the answers of
// their messages: $1 lanes, and of the messages $2 senders, $3 nonces, $4 recipients,
// $5 whether they were connected. A nonce of which every message was refused is free
// again. An upsert finds its rows by the key whatever the planner thinks of the size of
// the table.
var settleNoncesSQL = `
	WITH answer AS (
		SELECT DISTINCT ON (m.sender, m.nonce) m.*
		FROM unnest($2::integer[], $3::text[], $4::integer[], $5::boolean[], ` + resultsSQL + `)
			WITH ORDINALITY AS m (sender, nonce, recipient, connected, seq, place)
		WHERE m.nonce <> '' AND m.seq <> ` + fmt.Sprint(repeated) + `
		ORDER BY m.sender, m.nonce, m.seq > 0 DESC, m.place
	), freed AS (
		DELETE FROM nonces n
		USING answer a
		WHERE a.seq <= 0 AND n.sender = a.sender AND n.nonce = a.nonce AND n.seq = 0
	)
	INSERT INTO nonces AS n (sender, nonce, recipient, seq, connected)
	SELECT sender, nonce, recipient, seq, connected
	FROM answer
	WHERE seq > 0
	ON CONFLICT (sender, nonce) DO UPDATE
		SET recipient = excluded.recipient, seq = excluded.seq, connected = excluded.connected
		WHERE n.seq = 0`

// tellFirstsSQL completes the results of batches by what the nonces of repeated
// messages know: $1 lanes, and of the messages $2 batches, $3 senders, $4 nonces. A
// nonce that was pruned since it could not be claimed says nothing: sent again, it
// will be new. The lanes are locked already, so that their order here does not matter.
var tellFirstsSQL = `
	WITH told AS (
		SELECT m.batch, row_number() OVER (PARTITION BY m.batch ORDER BY m.place) AS place,
			m.seq AS was, n.recipient, n.sent_at, n.connected,
			CASE WHEN m.seq <> ` + fmt.Sprint(repeated) + ` THEN m.seq
			ELSE coalesce(n.seq, ` + fmt.Sprint(verdicts[socialapi.RefusedUnavailable]) + `) END AS seq
		FROM unnest($2::integer[], $3::integer[], $4::text[], ` + resultsSQL + `)
			WITH ORDINALITY AS m (batch, sender, nonce, seq, place)
		LEFT JOIN LATERAL (
			SELECT recipient, seq, sent_at, connected
			FROM nonces
			WHERE m.seq = ` + fmt.Sprint(repeated) + ` AND sender = m.sender AND nonce = m.nonce
			LIMIT 1) AS n ON true
	), complete AS (
		SELECT batch, array_agg(seq ORDER BY place) AS results,
			jsonb_object_agg(place, jsonb_build_object(
				'recipient', recipient,
				'sent_at', (extract(epoch FROM date_trunc('milliseconds', sent_at)) * 1000)::bigint,
				'connected', connected)) FILTER (WHERE recipient IS NOT NULL) AS firsts
		FROM told
		GROUP BY batch
		HAVING bool_or(was = ` + fmt.Sprint(repeated) + `)
	)
	UPDATE lanes l SET
		results = c.results,
		firsts = c.firsts,
		firsts_of = l.number
	FROM complete c
	JOIN unnest($1::text[]) WITH ORDINALITY AS b (lane, batch) USING (batch)
	WHERE l.lane = b.lane
	RETURNING l.lane, l.results, l.firsts`

// queueNonces settles the nonces of batches that were just stored.
func queueNonces(q *pgx.Batch, c columns, lanes map[string]*laneRow) {
	q.Queue(settleNoncesSQL, c.lanes, c.senders, c.nonces, c.recipients, c.connected)
	q.Queue(tellFirstsSQL, c.lanes, c.batches, c.senders, c.nonces).Query(func(rows pgx.Rows) error {
		var name string
		var row laneRow
		_, err := pgx.ForEachRow(rows, []any{&name, &row.results, &row.firsts}, func() error {
			lanes[name].results, lanes[name].firsts = row.results, row.firsts
			row.results, row.firsts = nil, nil
			return nil
		})
		return err
	})
}
