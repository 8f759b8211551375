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

func TestTheDocumentHasEveryFrameThatThereIs(t *testing.T) {
	t.Parallel()

	placeholders := strings.NewReplacer(`"NAME"`, "NAME", `"TEXT"`, "TEXT", "1", "ID")
	frames := []string{
		string(wire.LoginResp(1)), string(wire.CreateAccResp(1)), string(wire.SendResp),
		string(wire.FriendsResp([]wire.Friend{{Username: "NAME", ID: 1}})),
		string(wire.RequestResp), string(wire.AddResp), string(wire.DenyResp),
		string(wire.ErrorResp("TEXT")), string(wire.MessageEvent(1, "TEXT")), string(wire.FriendRequestEvent(1)),
		wire.NotConnected(1), wire.NotFriend(1), wire.RequestFailed(1), wire.NoRequest(1), wire.AddFailed(1), wire.DenyFailed(1),
		wire.ErrAccNotFound, wire.ErrUsernameTaken, wire.ErrCreateFailed, wire.ErrSendFailed, wire.ErrFriendsFailed,
		wire.ErrEndpointNotFound, wire.ErrNotLoggedIn, wire.ErrAlreadyLoggedIn, wire.ErrTooManyAttempts,
		wire.ErrTooManyRequests, wire.ErrUnavailable, wire.BadRequest("WHY").Error(),
	}
	doc := protocol(t)
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

func TestTheDocumentedRequestsAreThoseThatDecode(t *testing.T) {
	t.Parallel()

	values := strings.NewReplacer("NAME", `"bob"`, "PIN", `"1234"`, "ID", "12345678", "TEXT", `"hi"`)
	documented := map[wire.Type]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\{[^`]*\\})` \\| `\\{").FindAllStringSubmatch(protocol(t), -1) {
		req, err := wire.Decode([]byte(values.Replace(row[1])))
		if err != nil {
			t.Errorf("%s: %v", row[1], err)
		}
		documented[req.Type] = true
	}
	for _, want := range wire.Types {
		if !documented[want] {
			t.Errorf("docs/protocol.md lacks the request %s", want)
		}
	}
}
