package socialapi_test

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"pymessage/services/social/socialapi"
)

var sampleBatch = socialapi.Batch{Lane: "lane", Number: 1 << 40, Messages: []socialapi.Message{
	{Sender: 10000000, Recipient: 99999999, Content: "hi", Nonce: "n", Connected: true},
	{},
	{Sender: -1, Recipient: 1, Content: "a NUL: \x00, and not UTF-8: \xff"},
}}

var sampleResult = socialapi.BatchResult{Epoch: "epoch", SentAt: 1 << 41, Results: []socialapi.Result{
	{Seq: 1},
	{Refused: socialapi.RefusedUnknown},
	{Seq: 1 << 50, First: &socialapi.First{Recipient: 10000000, SentAt: 5, Connected: true}},
	{},
}}

func TestBatchesAndResultsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()

	batch, err := socialapi.DecodeBatch(socialapi.AppendBatch(nil, sampleBatch))
	if diff := cmp.Diff(sampleBatch, batch); diff != "" || err != nil {
		t.Errorf("batch: %v, (-want +got):\n%s", err, diff)
	}
	result, err := socialapi.DecodeBatchResult(socialapi.AppendBatchResult(nil, sampleResult))
	if diff := cmp.Diff(sampleResult, result); diff != "" || err != nil {
		t.Errorf("result: %v, (-want +got):\n%s", err, diff)
	}
}

func TestWhatALaterVersionAddsIsPassedOver(t *testing.T) {
	t.Parallel()

	later := protowire.AppendFixed64(protowire.AppendTag(nil, 14, protowire.Fixed64Type), 7)
	later = protowire.AppendString(protowire.AppendTag(later, 15, protowire.BytesType), "later")
	batch, err := socialapi.DecodeBatch(append(socialapi.AppendBatch(nil, sampleBatch), later...))
	if diff := cmp.Diff(sampleBatch, batch); diff != "" || err != nil {
		t.Errorf("batch: %v, (-want +got):\n%s", err, diff)
	}
}

func TestWhatBreaksOffIsNotRead(t *testing.T) {
	t.Parallel()

	whole := socialapi.AppendBatch(nil, socialapi.Batch{Messages: sampleBatch.Messages[:1]})
	for n := 1; n < len(whole); n++ {
		if _, err := socialapi.DecodeBatch(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes were read", n, len(whole))
		}
	}
	if _, err := socialapi.DecodeBatchResult([]byte{0x1a, 0x02, 0x08, 0x80}); err == nil {
		t.Error("a broken result was read")
	}
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(socialapi.AppendBatch(nil, sampleBatch))
	f.Fuzz(func(t *testing.T, in []byte) {
		sameAgain(t, in, socialapi.DecodeBatch, socialapi.AppendBatch)
	})
}

func FuzzDecodeBatchResult(f *testing.F) {
	f.Add(socialapi.AppendBatchResult(nil, sampleResult))
	f.Add([]byte{0x1a, 0x02, 0x1a, 0x00}) // a first that is empty
	f.Fuzz(func(t *testing.T, in []byte) {
		sameAgain(t, in, socialapi.DecodeBatchResult, socialapi.AppendBatchResult)
	})
}

// sameAgain checks that what can be read is read the same when it is written again.
func sameAgain[T any](t *testing.T, in []byte, decode func([]byte) (T, error), encode func([]byte, T) []byte) {
	value, err := decode(in)
	if err != nil {
		return
	}
	again, err := decode(encode(nil, value))
	if err != nil || !reflect.DeepEqual(value, again) {
		t.Errorf("%+v became %+v, %v", value, again, err)
	}
}
