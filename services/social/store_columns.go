package social

import "pymessage/services/social/socialapi"

// columns are the batches of a group, and their messages one after the other, as the
// statements take them.
type columns struct {
	lanes   []string
	numbers []int64

	batches             []int32 // the place of the batch, from 1
	senders, recipients []int32
	contents            []string
	verdicts            []int16

	hasNonces bool
	nonces    []string
	connected []bool
}

// columnsOf leaves blank what is refused: Postgres might not even read it.
func columnsOf(group []*sending) columns {
	var c columns
	n := 0
	for _, each := range group {
		n += len(each.batch.Messages)
	}
	c.batches, c.verdicts = make([]int32, n), make([]int16, n)
	c.senders, c.recipients, c.contents = make([]int32, n), make([]int32, n), make([]string, n)
	at := 0
	for i, each := range group {
		c.lanes, c.numbers = append(c.lanes, each.batch.Lane), append(c.numbers, each.batch.Number)
		for j, m := range each.batch.Messages {
			c.batches[at] = int32(i + 1)
			c.put(at, m, each.refused[j])
			at++
		}
	}
	return c
}

func (c *columns) put(at int, m socialapi.Message, refused socialapi.Refusal) {
	if refused != "" {
		c.verdicts[at] = verdicts[refused]
		return
	}
	c.senders[at], c.recipients[at], c.contents[at] = int32(m.Sender), int32(m.Recipient), m.Content
	if m.Nonce == "" {
		return
	}
	if !c.hasNonces {
		n := len(c.senders)
		c.hasNonces, c.nonces, c.connected = true, make([]string, n), make([]bool, n)
	}
	c.nonces[at], c.connected[at] = m.Nonce, m.Connected
}
