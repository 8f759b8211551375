package social

import (
	"errors"
	"fmt"
	"slices"

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

// lockLaneOfNoncesSQL is lockLaneSQL for a batch with nonces, of which a kept result
// has more to tell. Batches without nonces do not pay for that.
const lockLaneOfNoncesSQL = `
	SELECT number, results, updated_at, (SELECT epoch FROM log), CASE WHEN firsts_of = number THEN firsts END
	FROM lanes
	WHERE lane = $1
	FOR UPDATE`

// hasNonces says whether a message of b has a nonce.
func hasNonces(b socialapi.Batch) bool {
	return slices.ContainsFunc(b.Messages, func(m socialapi.Message) bool { return m.Nonce != "" })
}

// storeNoncesSQL is storeBatchSQL for a batch with nonces: $7 are those of the
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
		FROM unnest($3::integer[], $4::integer[], $5::text[], $6::smallint[], $7::text[])
			WITH ORDINALITY AS m (sender, recipient, content, verdict, nonce, place)
		WHERE (SELECT number FROM lanes WHERE lane = $1) < $2
	), claimed AS (
		INSERT INTO nonces (sender, nonce)
		SELECT DISTINCT sender, nonce COLLATE "C" AS nonce
		FROM given
		WHERE nonce <> ''
		ORDER BY sender, nonce
		ON CONFLICT DO NOTHING
		RETURNING sender, nonce
	), fresh AS (
		SELECT g.place, g.sender, g.recipient, g.content, g.nonce,
			CASE WHEN g.nonce <> '' AND c.nonce IS NULL THEN ` + fmt.Sprint(repeated) + ` ELSE g.verdict END AS verdict
		FROM given g
		LEFT JOIN claimed c ON c.sender = g.sender AND c.nonce = g.nonce
	), judged AS (
		SELECT m.place, m.sender, m.recipient, m.content, m.nonce, ` + verdictSQL(policy) + ` AS verdict
		FROM fresh m
	), message AS (
		SELECT place, sender, recipient, content,
			CASE WHEN nonce <> '' AND verdict = 0
				AND row_number() OVER (PARTITION BY sender, nonce, verdict ORDER BY place) > 1
			THEN ` + fmt.Sprint(repeated) + ` ELSE verdict END AS verdict
		FROM judged
	)` + appendMessagesSQL
}

// settleNoncesSQL gives the nonces that this transaction claimed the answers of
// their messages: $1 lane, $2 number, and of the messages $3 senders, $4 nonces,
// $5 recipients, $6 whether they were connected. A nonce of which every message
// was refused is free again. An upsert finds its rows by the key whatever the
// planner thinks of the size of the table.
var settleNoncesSQL = `
	WITH answer AS (
		SELECT DISTINCT ON (m.sender, m.nonce) m.*
		FROM unnest($3::integer[], $4::text[], $5::integer[], $6::boolean[],
				(SELECT results FROM lanes WHERE lane = $1 AND number = $2 AND updated_at = now()))
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

// tellFirstsSQL completes the result of a batch by what the nonces of repeated
// messages know: $1 lane, $2 number, and of the messages $3 senders, $4 nonces. A
// nonce that was pruned since it could not be claimed says nothing: sent again, it
// will be new.
var tellFirstsSQL = `
	WITH told AS (
		SELECT m.place, n.recipient, n.sent_at, n.connected,
			CASE WHEN m.seq <> ` + fmt.Sprint(repeated) + ` THEN m.seq
			ELSE coalesce(n.seq, ` + fmt.Sprint(verdicts[socialapi.RefusedUnavailable]) + `) END AS seq
		FROM unnest($3::integer[], $4::text[], (SELECT results FROM lanes WHERE lane = $1))
			WITH ORDINALITY AS m (sender, nonce, seq, place)
		LEFT JOIN nonces n ON m.seq = ` + fmt.Sprint(repeated) + ` AND n.sender = m.sender AND n.nonce = m.nonce
	)
	UPDATE lanes SET
		results = ARRAY(SELECT seq FROM told ORDER BY place),
		firsts = (
			SELECT jsonb_object_agg(place, jsonb_build_object(
				'recipient', recipient,
				'sent_at', (extract(epoch FROM date_trunc('milliseconds', sent_at)) * 1000)::bigint,
				'connected', connected))
			FROM told
			WHERE recipient IS NOT NULL),
		firsts_of = number
	WHERE lane = $1 AND number = $2 AND ` + fmt.Sprint(repeated) + ` = ANY(results)
	RETURNING results, firsts`

// queueNonces settles the nonces of a batch that was just stored; if it was stored
// before, nothing happens.
func queueNonces(q *pgx.Batch, b socialapi.Batch, c columns, lane *laneRow) {
	q.Queue(settleNoncesSQL, b.Lane, b.Number, c.senders, c.nonces, c.recipients, c.connected)
	q.Queue(tellFirstsSQL, b.Lane, b.Number, c.senders, c.nonces).QueryRow(func(r pgx.Row) error {
		err := r.Scan(&lane.results, &lane.firsts)
		if errors.Is(err, pgx.ErrNoRows) { // no nonce was known
			return nil
		}
		return err
	})
}
