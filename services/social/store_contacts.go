package social

import (
	"github.com/jackc/pgx/v5"

	"pymessage/services/social/socialapi"
)

// rememberedContacts is how many pairs of sender and recipient the memory holds,
// about 20 bytes each. Others cost their messages a look at the table of contacts.
const rememberedContacts = 1 << 20

// contact says that sender has written to recipient.
type contact struct{ sender, recipient int32 }

// addContactsSQL notes whose messages batches stored just now: $1 lanes, and of the
// messages $2 senders, 0 where it is known already, $3 recipients. Who writes the same
// pair holds the same inbox, so there is nobody to wait for.
const addContactsSQL = `
	INSERT INTO contacts (sender, recipient)
	SELECT DISTINCT m.sender, m.recipient
	FROM unnest($2::integer[], $3::integer[], ` + resultsSQL + `) AS m (sender, recipient, seq)
	WHERE m.sender <> 0 AND m.seq > 0
	ON CONFLICT DO NOTHING`

// queueContacts notes who writes to whom, in the transaction of the batches, as far as
// that is not remembered to be stored.
func (s *store) queueContacts(q *pgx.Batch, c columns) {
	senders := s.unknownSenders(c)
	for _, sender := range senders {
		if sender != 0 {
			q.Queue(addContactsSQL, c.lanes, senders, c.recipients)
			return
		}
	}
}

// unknownSenders are the senders of c, 0 where the contact is known or the message
// was refused.
func (s *store) unknownSenders(c columns) []int32 {
	contacts := make([]contact, len(c.senders))
	for i := range contacts {
		contacts[i] = contact{c.senders[i], c.recipients[i]}
	}
	senders := make([]int32, len(contacts))
	for i, known := range s.contacts.has(contacts) {
		if !known {
			senders[i] = c.senders[i]
		}
	}
	return senders
}

// rememberContacts is told what was committed.
func (s *store) rememberContacts(b socialapi.Batch, results []socialapi.Result) {
	var stored []contact
	for i, r := range results {
		if r.Seq > 0 && r.First == nil {
			stored = append(stored, contact{int32(b.Messages[i].Sender), int32(b.Messages[i].Recipient)})
		}
	}
	s.contacts.add(stored)
}
