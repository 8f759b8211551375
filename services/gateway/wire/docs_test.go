package wire_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pymessage/services/gateway/wire"
)

// protocol is docs/protocol.md.
func protocol(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// allErrors are those of version 1.
func allErrors() []wire.Error {
	return []wire.Error{
		wire.NotConnected(1), wire.NotFriend(1), wire.RequestFailed(1), wire.NoRequest(1), wire.AddFailed(1), wire.DenyFailed(1),
		wire.ErrAccNotFound, wire.ErrUsernameTaken, wire.ErrCreateFailed, wire.ErrSendFailed, wire.ErrFriendsFailed,
		wire.ErrEndpointNotFound, wire.ErrNotLoggedIn, wire.ErrAlreadyLoggedIn, wire.ErrTooManyAttempts,
		wire.ErrTooManyRequests, wire.ErrUnavailable, wire.BadRequest("WHY"),
	}
}

// errors2 are those of version 2 alone.
func errors2() []wire.Error {
	return []wire.Error{
		wire.ErrSessionOver, wire.ErrRequestsFailed, wire.NoRequestTo(1), wire.CancelFailed(1), wire.RemoveFailed(1),
		wire.BlockFailed(1), wire.NotBlocked(1), wire.UnblockFailed(1), wire.ErrBlockedFailed,
		wire.ErrUserNotFound, wire.ErrFindFailed, wire.ErrHistoryFailed, wire.ErrReadFailed,
		wire.ErrPresenceFailed,
	}
}

func TestTheDocumentHasEveryFrameThatThereIs(t *testing.T) {
	t.Parallel()

	placeholders := strings.NewReplacer(`"NAME"`, "NAME", `"TEXT"`, "TEXT", "1", "ID")
	frames := []string{
		string(wire.LoginResp(1)), string(wire.CreateAccResp(1)), string(wire.SendResp),
		string(wire.FriendsResp([]wire.Friend{{Username: "NAME", ID: 1}})),
		string(wire.RequestResp), string(wire.AddResp), string(wire.DenyResp),
		string(wire.ErrorResp(wire.V1, wire.Error{Text: "TEXT"})), string(wire.MessageEvent(1, "TEXT")), string(wire.FriendRequestEvent(1)),
	}
	for _, e := range allErrors() {
		frames = append(frames, e.Text)
	}
	doc := protocol(t)
	for _, e := range append(allErrors(), errors2()...) {
		if row := fmt.Sprintf("| `%s` | `%s`", e.Code, placeholders.Replace(e.Text)); !strings.Contains(doc, row) {
			t.Errorf("docs/protocol.md lacks %s", row)
		}
	}
	for _, frame := range frames {
		if want := "`" + placeholders.Replace(frame) + "`"; !strings.Contains(doc, want) {
			t.Errorf("docs/protocol.md lacks %s", want)
		}
	}
	for _, code := range wire.CloseCodes {
		if !strings.Contains(doc, fmt.Sprintf("\n| %d |", code)) {
			t.Errorf("docs/protocol.md lacks close code %d", code)
		}
	}
	for _, limit := range []int{wire.MaxFrame, wire.MaxContent} {
		if !strings.Contains(doc, fmt.Sprint(limit)) {
			t.Errorf("docs/protocol.md lacks the limit %d", limit)
		}
	}
}

func TestTheDocumentHasEveryFrameOfVersion2(t *testing.T) {
	t.Parallel()

	placeholders := strings.NewReplacer(`"NAME"`, "NAME", `"TEXT"`, "TEXT", `"T"`, "TOKEN", `"E"`, "EPOCH", `"1-2"`, "EVENT",
		`:1,`, ":ID,", `:1}`, ":ID}", `[1]`, "[ID]", `:2,`, ":SEQ,", `:2}`, ":SEQ}", ":3,", ":MS,", ":3}", ":MS}")
	place := wire.Place{Seq: 2, ID: wire.EventID(1, 2), SentAt: 3}
	session := wire.Session{ID: 1, Token: "T", ExpiresAt: 3, Seq: 2, Epoch: "E"}
	resumed := session
	resumed.Token = ""
	doc := protocol(t)
	for _, frame := range [][]byte{
		wire.SessionResp(wire.Login, session), wire.SessionResp(wire.CreateAcc, session), wire.SessionResp(wire.Resume, resumed),
		wire.LogoutResp, wire.AckResp(2), wire.SendResp2(wire.StatusSuccess, "1-2", 3),
		wire.MessageEvent2(1, "TEXT", place),
		wire.RequestsResp([]wire.Waiting{{Username: "NAME", ID: 1, Since: 3}}, []wire.Waiting{{Username: "NAME", ID: 1, Since: 3}}),
		wire.CancelResp, wire.RemoveResp, wire.BlockResp, wire.UnblockResp, wire.BlockedResp([]wire.Friend{{Username: "NAME", ID: 1}}),
		wire.UserResp(wire.Friend{Username: "NAME", ID: 1}), wire.ReadResp(1, "1-2"),
		wire.HistoryResp(1, []wire.Said{{ID: "1-2", Sender: 1, Content: "TEXT", SentAt: 3, State: "read"}}, true),
		wire.UserEvent("friend_request", 1, place), wire.UserEvent("friend_added", 1, place), wire.UserEvent("friend_removed", 1, place),
		wire.UserEvent("request_sent", 1, place), wire.UserEvent("request_closed", 1, place),
		wire.UserEvent("blocked", 1, place), wire.UserEvent("unblocked", 1, place),
		wire.TypingResp, wire.PresenceResp([]int{1}), wire.TypingEvent(1), wire.ReceiptEvent(1, wire.StateRead, "1-2"),
		wire.ReadEvent(1, "1-2"), wire.SentEvent(1, "TEXT", "1-2", 3), wire.OnlineEvent(1), wire.OfflineEvent(1),
		wire.SyncedEvent(2), wire.HeartbeatEvent(2), wire.ResyncEvent(2, 2, "E"),
	} {
		if want := "`" + placeholders.Replace(placeholders.Replace(string(frame))) + "`"; !strings.Contains(doc, want) {
			t.Errorf("docs/protocol.md lacks %s", want)
		}
	}
}

func TestTheDocumentedRequestsAreThoseThatDecode(t *testing.T) {
	t.Parallel()

	one, two, _ := strings.Cut(protocol(t), "\n## Version 2\n")
	for v, section := range map[wire.Version]string{wire.V1: one, wire.V2: one + two} {
		documented := map[wire.Type]bool{}
		for _, row := range regexp.MustCompile("(?m)^\\| `(\\{[^`]*\\})` \\| `\\{").FindAllStringSubmatch(section, -1) {
			req, err := wire.Decode([]byte(example(row[1])), v)
			if err != nil {
				t.Errorf("%s: %v", row[1], err)
			}
			documented[req.Type] = true
		}
		for _, want := range wire.Types(v) {
			if !documented[want] {
				t.Errorf("docs/protocol.md lacks the request %s", want)
			}
		}
	}
}

// example puts values in the place of the placeholders of a documented request.
func example(frame string) string {
	return strings.NewReplacer(":NAME", `:"bob"`, ":PIN", `:"1234"`, ":ID", ":12345678", ":TEXT", `:"hi"`, ":TOKEN", `:"t"`,
		":EPOCH", `:"e"`, ":SEQ", ":7", ":NONCE", `:"n"`, ":EVENT", `:"12345678-7"`, ":N", ":7").Replace(frame)
}
