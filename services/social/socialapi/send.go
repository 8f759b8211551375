package socialapi

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// Batches of messages and their results are the calls that are made all the time. By
// PathSendStream they go over package stream, encoded as protocol buffers are: what a
// version does not know it passes over. The numbers of the fields are below; they never
// change their meaning.
//
//	Batch        1 lane   2 number   3 message, repeated
//	Message      1 sender   2 recipient   3 content   4 nonce   5 connected
//	BatchResult  1 epoch   2 sent_at   3 result, repeated
//	Result       1 seq   2 refused   3 first
//	First        1 recipient   2 sent_at   3 connected

// errEncoding is a call or an answer that is not encoded like this.
var errEncoding = errors.New("not a protocol buffer of the expected kind")

// AppendBatch adds b to out.
func AppendBatch(out []byte, b Batch) []byte {
	out = appendText(out, 1, b.Lane)
	out = appendNumber(out, 2, b.Number)
	for _, m := range b.Messages {
		out = protowire.AppendTag(out, 3, protowire.BytesType)
		out = protowire.AppendVarint(out, uint64(sizeOf(m)))
		out = appendNumber(out, 1, int64(m.Sender))
		out = appendNumber(out, 2, int64(m.Recipient))
		out = appendText(out, 3, m.Content)
		out = appendText(out, 4, m.Nonce)
		out = appendBool(out, 5, m.Connected)
	}
	return out
}

func sizeOf(m Message) int {
	return sizeOfNumber(int64(m.Sender)) + sizeOfNumber(int64(m.Recipient)) + sizeOfText(m.Content) + sizeOfText(m.Nonce) +
		sizeOfBool(m.Connected)
}

// DecodeBatch reads what AppendBatch has written.
func DecodeBatch(in []byte) (b Batch, err error) {
	err = eachField(in, func(field protowire.Number, v value) error {
		switch field {
		case 1:
			b.Lane = string(v.bytes)
		case 2:
			b.Number = v.number
		case 3:
			m, err := decodeMessage(v.bytes)
			b.Messages = append(b.Messages, m)
			return err
		}
		return nil
	})
	return b, err
}

func decodeMessage(in []byte) (m Message, err error) {
	err = eachField(in, func(field protowire.Number, v value) error {
		switch field {
		case 1:
			m.Sender = int(v.number)
		case 2:
			m.Recipient = int(v.number)
		case 3:
			m.Content = string(v.bytes)
		case 4:
			m.Nonce = string(v.bytes)
		case 5:
			m.Connected = v.number != 0
		}
		return nil
	})
	return m, err
}

// AppendBatchResult adds r to out.
func AppendBatchResult(out []byte, r BatchResult) []byte {
	out = appendText(out, 1, r.Epoch)
	out = appendNumber(out, 2, r.SentAt)
	var buf [64]byte // enough for a result, but for refusals of later versions
	for _, each := range r.Results {
		out = protowire.AppendTag(out, 3, protowire.BytesType)
		out = protowire.AppendBytes(out, appendResult(buf[:0], each))
	}
	return out
}

func appendResult(out []byte, r Result) []byte {
	out = appendNumber(out, 1, r.Seq)
	out = appendText(out, 2, string(r.Refused))
	if r.First == nil {
		return out
	}
	var buf [32]byte
	first := appendNumber(buf[:0], 1, int64(r.First.Recipient))
	first = appendNumber(first, 2, r.First.SentAt)
	first = appendBool(first, 3, r.First.Connected)
	return protowire.AppendBytes(protowire.AppendTag(out, 3, protowire.BytesType), first)
}

// resultBytes is what a result takes at least.
const resultBytes = 4

// DecodeBatchResult reads what AppendBatchResult has written.
func DecodeBatchResult(in []byte) (r BatchResult, err error) {
	r.Results = make([]Result, 0, len(in)/resultBytes)
	err = eachField(in, func(field protowire.Number, v value) error {
		switch field {
		case 1:
			r.Epoch = string(v.bytes)
		case 2:
			r.SentAt = v.number
		case 3:
			each, err := decodeResult(v.bytes)
			r.Results = append(r.Results, each)
			return err
		}
		return nil
	})
	return r, err
}

func decodeResult(in []byte) (r Result, err error) {
	err = eachField(in, func(field protowire.Number, v value) (err error) {
		switch field {
		case 1:
			r.Seq = v.number
		case 2:
			r.Refused = Refusal(v.bytes)
		case 3:
			r.First, err = decodeFirst(v.bytes)
		}
		return err
	})
	return r, err
}

func decodeFirst(in []byte) (*First, error) {
	first := new(First)
	err := eachField(in, func(field protowire.Number, v value) error {
		switch field {
		case 1:
			first.Recipient = int(v.number)
		case 2:
			first.SentAt = v.number
		case 3:
			first.Connected = v.number != 0
		}
		return nil
	})
	return first, err
}

// What is empty is left out, as protocol buffers do.

func appendNumber(out []byte, field protowire.Number, n int64) []byte {
	if n == 0 {
		return out
	}
	return protowire.AppendVarint(protowire.AppendTag(out, field, protowire.VarintType), uint64(n))
}

func appendText(out []byte, field protowire.Number, text string) []byte {
	if text == "" {
		return out
	}
	return protowire.AppendString(protowire.AppendTag(out, field, protowire.BytesType), text)
}

func appendBool(out []byte, field protowire.Number, b bool) []byte {
	if !b {
		return out
	}
	return appendNumber(out, field, 1)
}

// tagSize is that of the tag of a field up to 15.
const tagSize = 1

func sizeOfNumber(n int64) int {
	if n == 0 {
		return 0
	}
	return tagSize + protowire.SizeVarint(uint64(n))
}

func sizeOfText(text string) int {
	if text == "" {
		return 0
	}
	return tagSize + protowire.SizeBytes(len(text))
}

func sizeOfBool(b bool) int {
	if !b {
		return 0
	}
	return tagSize + 1
}

// value is that of a field: a number or bytes, which share the memory of what is decoded.
type value struct {
	number int64
	bytes  []byte
}

// eachField calls f for the fields of a message.
func eachField(in []byte, f func(protowire.Number, value) error) error {
	for len(in) > 0 {
		field, kind, n := protowire.ConsumeTag(in)
		if n < 0 {
			return errEncoding
		}
		in = in[n:]
		var v value
		switch kind {
		case protowire.VarintType:
			var number uint64
			number, n = protowire.ConsumeVarint(in)
			v.number = int64(number)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(in)
		default:
			n = protowire.ConsumeFieldValue(field, kind, in)
		}
		if n < 0 {
			return errEncoding
		}
		in = in[n:]
		if err := f(field, v); err != nil {
			return err
		}
	}
	return nil
}
