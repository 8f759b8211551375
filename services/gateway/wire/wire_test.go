package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pymessage/services/gateway/wire"
)

func TestDecodeReadsEveryRequest(t *testing.T) {
	t.Parallel()

	tests := map[string]wire.Request{
		`{"type":"login","username":"bob","pin":"1234"}`:                  {Type: wire.Login, Username: "bob", Pin: "1234"},
		`{"type":"login","username":"bob","pin":1234}`:                    {Type: wire.Login, Username: "bob", Pin: "1234"},
		`{"type":"login","username":"bob","pin":"0042"}`:                  {Type: wire.Login, Username: "bob", Pin: "0042"},
		`{"type":"login","username":"bob","pin":42}`:                      {Type: wire.Login, Username: "bob", Pin: "42"},
		` {"pin":1234 , "username":"b","type":"create_acc","more":[{}]} `: {Type: wire.CreateAcc, Username: "b", Pin: "1234"},
		`{"type":"send_msg","recipient":12345678,"content":"hi \u2603"}`:  {Type: wire.SendMsg, User: 12345678, Content: "hi ☃"},
		`{"type":"send_msg","recipient":"12345678","content":""}`:         {Type: wire.SendMsg, User: 12345678},
		`{"type":"send_msg","recipient":5,"content":"to nobody"}`:         {Type: wire.SendMsg, User: 5, Content: "to nobody"},
		`{"type":"get_friends"}`:                                          {Type: wire.GetFriends},
		`{"type":"request_friend","user":"87654321"}`:                     {Type: wire.RequestFriend, User: 87654321},
		`{"type":"add_friend","user":87654321}`:                           {Type: wire.AddFriend, User: 87654321},
		`{"type":"deny_friend","user":1,"user":87654321}`:                 {Type: wire.DenyFriend, User: 87654321},
	}
	for frame, want := range tests {
		t.Run(frame, func(t *testing.T) {
			t.Parallel()

			got, err := wire.Decode([]byte(frame), wire.V1)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	t.Parallel()

	const notObject, notID = "bad request: frame is not a JSON object", " must be an id, a number of 8 digits"
	tests := map[string]string{
		"":                                notObject,
		"null":                            notObject,
		"[]":                              notObject,
		`"login"`:                         notObject,
		`{"type":"login"`:                 notObject,
		`{"type":"get_friends"} {}`:       notObject,
		strings.Repeat("[", 60000):        notObject,
		strings.Repeat(`{"type":`, 12000): notObject,
		"{\"type\":\"get_friends\xff\"}":  "bad request: frame is not valid UTF-8",
		`{}`:                              "endpoint not found",
		`{"type":null}`:                   "endpoint not found",
		`{"type":5}`:                      "endpoint not found",
		`{"type":"nope"}`:                 "endpoint not found",
		`{"TYPE":"get_friends"}`:          "endpoint not found",
		`{"type":"Login"}`:                "endpoint not found",
		`{"type":"login"}`:                "acc not found",
		`{"type":"login","username":"b"}`: "acc not found",
		`{"type":"login","username":1,"pin":"1234"}`:                                             "acc not found",
		`{"type":"login","username":"b","pin":12.5}`:                                             "acc not found",
		`{"type":"login","username":"b","pin":-1234}`:                                            "acc not found",
		`{"type":"login","username":"b","pin":1e4}`:                                              "acc not found",
		`{"type":"login","username":"b","pin":null}`:                                             "acc not found",
		`{"type":"create_acc","username":"b","pin":true}`:                                        "failed to create account",
		`{"type":"create_acc","pin":"1234"}`:                                                     "failed to create account",
		`{"type":"send_msg","content":"x"}`:                                                      "bad request: recipient is missing",
		`{"type":"send_msg","recipient":null,"content":"x"}`:                                     "bad request: recipient" + notID,
		`{"type":"send_msg","recipient":1.5,"content":"x"}`:                                      "bad request: recipient" + notID,
		`{"type":"send_msg","recipient":-12345678,"content":"x"}`:                                "bad request: recipient" + notID,
		`{"type":"send_msg","recipient":"","content":"x"}`:                                       "bad request: recipient" + notID,
		`{"type":"send_msg","recipient":"bob","content":"x"}`:                                    "bad request: recipient" + notID,
		`{"type":"send_msg","recipient":1e999,"content":"x"}`:                                    "bad request: recipient" + notID,
		`{"type":"send_msg","recipient":1234567890123456789,"content":""}`:                       "bad request: recipient" + notID,
		`{"type":"send_msg","recipient":12345678}`:                                               "bad request: content is missing",
		`{"type":"send_msg","recipient":12345678,"content":7}`:                                   "bad request: content must be a string",
		`{"type":"send_msg","recipient":12345678,"content":null}`:                                "bad request: content must be a string",
		`{"type":"send_msg","recipient":12345678,"content":"a\u0000b"}`:                          "bad request: content must not contain NUL",
		`{"type":"send_msg","recipient":12345678,"content":"` + strings.Repeat("é", 4097) + `"}`: "bad request: content is longer than 4096 characters",
		`{"type":"request_friend"}`:                                                              "bad request: user is missing",
		`{"type":"add_friend","user":{}}`:                                                        "bad request: user" + notID,
		`{"type":"deny_friend","user":[1,2,3]}`:                                                  "bad request: user" + notID,
	}
	for frame, want := range tests {
		t.Run(frame[:min(len(frame), 60)], func(t *testing.T) {
			t.Parallel()

			_, err := wire.Decode([]byte(frame), wire.V1)
			if err == nil || err.Error() != want {
				t.Fatalf("got %v, want %s", err, want)
			}
		})
	}
}

func TestContentOfTheFullLengthIsTaken(t *testing.T) {
	t.Parallel()

	content := strings.Repeat("☃", wire.MaxContent)
	req, err := wire.Decode([]byte(`{"type":"send_msg","recipient":12345678,"content":"`+content+`"}`), wire.V1)
	if err != nil || req.Content != content {
		t.Fatal(err)
	}
}

func TestEncodedFramesAreByteForByteTheProtocol(t *testing.T) {
	t.Parallel()

	tests := []struct{ got, want string }{
		{string(wire.LoginResp(12345678)), `{"type":"resp","id":12345678}`},
		{string(wire.CreateAccResp(12345678)), `{"type":"create_acc_resp","id":12345678}`},
		{string(wire.SendResp), `{"type":"send_resp","status":"success"}`},
		{string(wire.FriendsResp(nil)), `{"type":"friends_resp","friends":[]}`},
		{string(wire.FriendsResp([]wire.Friend{{"bob", 12345678}, {`"`, 1}})),
			`{"type":"friends_resp","friends":[{"username":"bob","id":12345678},{"username":"\"","id":1}]}`},
		{string(wire.RequestResp), `{"type":"request_resp","status":"sent"}`},
		{string(wire.AddResp), `{"type":"add_resp","status":"added"}`},
		{string(wire.DenyResp), `{"type":"deny_resp","status":"success"}`},
		{string(wire.FriendRequestEvent(12345678)), `{"type":"friend_request","user":12345678}`},
		{string(wire.MessageEvent(12345678, `<b>&"☃`)), `{"type":"message","sender":12345678,"content":"<b>&\"☃"}`},
		{string(wire.ErrorResp(wire.V1, wire.NotConnected(12345678))), `{"type":"error","error":"12345678 is not connected to the network"}`},
		{string(wire.ErrorResp(wire.V1, wire.NotFriend(12345678))), `{"type":"error","error":"12345678 is not your friend"}`},
		{string(wire.ErrorResp(wire.V1, wire.RequestFailed(1))), `{"type":"error","error":"failed to send friend request to 1"}`},
		{string(wire.ErrorResp(wire.V1, wire.NoRequest(1))), `{"type":"error","error":"no friend request from 1"}`},
		{string(wire.ErrorResp(wire.V1, wire.AddFailed(1))), `{"type":"error","error":"failed to add friend 1"}`},
		{string(wire.ErrorResp(wire.V1, wire.DenyFailed(1))), `{"type":"error","error":"failed to deny friend 1"}`},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %s, want %s", tt.got, tt.want)
		}
	}
}

// FuzzDecode holds Decode to its contract: it never panics, a wrong frame gets a
// protocol error, and what it accepts obeys the limits.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"type":"login","username":"bob","pin":1234}`,
		`{"type":"send_msg","recipient":"12345678","content":"hi \ud83d\ude00 \ud800"}`,
		`{"type":"send_msg","recipient":1e999,"content":"\u0000"}`,
		`{"type":"deny_friend","user":[[[[]]]]}`, `{"type":{}}`, `nul`, "\xff", "",
	} {
		f.Add([]byte(seed))
	}
	f.Add([]byte(`{"type":"resume","token":"t","since":7,"epoch":"e","ref":"r\u00e9"}`))
	f.Add([]byte(`{"type":"ack","seq":99999999999999999999,"ref":-1.5e3}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		for _, v := range []wire.Version{wire.V1, wire.V2} {
			req, err := wire.Decode(frame, v)
			if err != nil {
				checkError(t, v, req, err)
				continue
			}
			checkRequest(t, v, req)
		}
	})
}

func checkError(t *testing.T, v wire.Version, req wire.Request, err error) {
	var protocol wire.Error
	if !errors.As(err, &protocol) || protocol.Text == "" || protocol.Code == "" {
		t.Fatalf("not a protocol error: %#v", err)
	}
	if frame := wire.WithRef(wire.ErrorResp(v, protocol), req.Ref); !json.Valid(frame) {
		t.Fatalf("error frame is not JSON: %s", frame)
	}
}

func checkRequest(t *testing.T, v wire.Version, req wire.Request) {
	if req.User < 0 || strings.ContainsRune(req.Content, 0) || len([]rune(req.Content)) > wire.MaxContent ||
		!slices.Contains(wire.Types(v), req.Type) || req.Seq < 0 || req.Since < 0 || len(req.Nonce) > wire.MaxNonce {
		t.Fatalf("accepted %+v", req)
	}
	if v == wire.V1 && (req.Ref != "" || req.Nonce != "") {
		t.Fatalf("version 1 sees version 2: %+v", req)
	}
	if req.Type == wire.SendMsg {
		event := wire.MessageEvent(12345678, req.Content)
		var back struct{ Content string }
		if json.Unmarshal(event, &back) != nil || back.Content != req.Content || bytes.ContainsRune(event, '\n') {
			t.Fatalf("content does not survive: %q", event)
		}
	}
}

func TestVersion2ReadsWhatItAdds(t *testing.T) {
	t.Parallel()

	tests := map[string]wire.Request{
		`{"type":"resume","token":"t","since":7,"epoch":"e","ref":1}`: {Type: wire.Resume, Token: "t", Since: 7, Epoch: "e", Ref: "1"},
		`{"type":"ack","seq":9}`:         {Type: wire.Ack, Seq: 9},
		`{"type":"logout","ref":"a\"b"}`: {Type: wire.Logout, Ref: `"a\"b"`},
		`{"type":"send_msg","recipient":12345678,"content":"c","nonce":"n","ref":-1.5}`: {Type: wire.SendMsg, User: 12345678, Content: "c", Nonce: "n", Ref: "-1.5"},
	}
	for frame, want := range tests {
		got, err := wire.Decode([]byte(frame), wire.V2)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", frame, err, diff)
		}
	}
	for _, frame := range []string{
		`{"type":"ack"}`, `{"type":"ack","seq":"9"}`, `{"type":"ack","seq":-1}`, `{"type":"ack","seq":1.0}`, `{"type":"ack","seq":9223372036854775808}`,
		`{"type":"resume","token":"t","since":1}`, `{"type":"resume","since":1,"epoch":"e"}`, `{"type":"resume","token":1,"since":1,"epoch":"e"}`,
		`{"type":"logout","ref":{}}`, `{"type":"logout","ref":null}`, `{"type":"logout","ref":"` + strings.Repeat("r", 64) + `"}`,
		`{"type":"send_msg","recipient":12345678,"content":"c","nonce":""}`, `{"type":"send_msg","recipient":12345678,"content":"c","nonce":5}`,
		`{"type":"send_msg","recipient":12345678,"content":"c","nonce":"` + strings.Repeat("n", 65) + `"}`,
	} {
		_, err := wire.Decode([]byte(frame), wire.V2)
		if err == nil || !strings.HasPrefix(err.Error(), "bad request: ") {
			t.Errorf("%s: %v", frame, err)
		}
	}
}

func TestVersion2FramesAreByteForByteTheProtocol(t *testing.T) {
	t.Parallel()

	place := wire.Place{Seq: 7, ID: wire.EventID(12345678, 7), SentAt: 1700000000123}
	session := wire.Session{ID: 12345678, Token: "t", ExpiresAt: 1700000000123, Seq: 7, Epoch: "e"}
	resumed := session
	resumed.Token = ""
	tests := []struct{ got, want string }{
		{string(wire.SessionResp(wire.Login, session)), `{"type":"resp","id":12345678,"token":"t","expires_at":1700000000123,"seq":7,"epoch":"e"}`},
		{string(wire.SessionResp(wire.CreateAcc, session)), `{"type":"create_acc_resp","id":12345678,"token":"t","expires_at":1700000000123,"seq":7,"epoch":"e"}`},
		{string(wire.SessionResp(wire.Resume, resumed)), `{"type":"resume_resp","id":12345678,"expires_at":1700000000123,"seq":7,"epoch":"e"}`},
		{string(wire.LogoutResp), `{"type":"logout_resp","status":"success"}`},
		{string(wire.AckResp(7)), `{"type":"ack_resp","seq":7}`},
		{string(wire.SendResp2(wire.StatusQueued, "12345678-7", 1700000000123)), `{"type":"send_resp","status":"queued","id":"12345678-7","sent_at":1700000000123}`},
		{string(wire.MessageEvent2(87654321, "<hi>", place)), `{"type":"message","sender":87654321,"content":"<hi>","seq":7,"id":"12345678-7","sent_at":1700000000123}`},
		{string(wire.UserEvent("friend_request", 87654321, place)), `{"type":"friend_request","user":87654321,"seq":7,"id":"12345678-7","sent_at":1700000000123}`},
		{string(wire.HeartbeatEvent(7)), `{"type":"heartbeat","seq":7}`},
		{string(wire.SyncedEvent(7)), `{"type":"synced","seq":7}`},
		{string(wire.ResyncEvent(3, 7, "e")), `{"type":"resync","oldest":3,"seq":7,"epoch":"e"}`},
		{string(wire.ErrorResp(wire.V2, wire.ErrNotLoggedIn)), `{"type":"error","error":"not logged in","code":"not_logged_in"}`},
		{string(wire.ErrorResp(wire.V2, wire.ErrUnavailable)), `{"type":"error","error":"service unavailable, try again","code":"unavailable","retry_after_ms":1000}`},
		{string(wire.WithRef(wire.SendResp, `"r"`)), `{"type":"send_resp","status":"success","ref":"r"}`},
		{string(wire.WithRef(wire.SendResp, ``)), `{"type":"send_resp","status":"success"}`},
		{string(wire.SendResp), `{"type":"send_resp","status":"success"}`}, // WithRef must not change it
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %s, want %s", tt.got, tt.want)
		}
	}
}

func TestTheRequestsAboutOthersAreReadAsWritten(t *testing.T) {
	t.Parallel()

	event := wire.Event{User: 12345678, Seq: 7}
	for frame, want := range map[string]wire.Request{
		`{"type":"block","user":"87654321"}`:                                       {Type: wire.Block, User: 87654321},
		`{"type":"find_user","username":"bob"}`:                                    {Type: wire.FindUser, Username: "bob"},
		`{"type":"get_history","user":87654321}`:                                   {Type: wire.GetHistory, User: 87654321, Limit: 50},
		`{"type":"get_history","user":87654321,"limit":200,"before":"12345678-7"}`: {Type: wire.GetHistory, User: 87654321, Limit: 200, Event: event},
		`{"type":"mark_read","user":87654321,"id":"12345678-7"}`:                   {Type: wire.MarkRead, User: 87654321, Event: event},
	} {
		if got, err := wire.Decode([]byte(frame), wire.V2); err != nil || got != want {
			t.Errorf("%s: %+v, %v", frame, got, err)
		}
		if _, err := wire.Decode([]byte(frame), wire.V1); !errors.Is(err, wire.ErrEndpointNotFound) {
			t.Errorf("%s in version 1: %v", frame, err)
		}
	}
	for _, bad := range []string{
		`{"type":"remove_friend"}`, `{"type":"find_user","username":5}`, `{"type":"get_history"}`,
		`{"type":"get_history","user":87654321,"limit":0}`, `{"type":"get_history","user":87654321,"limit":201}`,
		`{"type":"get_history","user":87654321,"limit":"5"}`, `{"type":"get_history","user":87654321,"before":7}`,
		`{"type":"get_history","user":87654321,"before":"12345678-0"}`, `{"type":"mark_read","user":87654321}`,
		`{"type":"mark_read","user":87654321,"id":"7"}`, `{"type":"mark_read","user":87654321,"id":"1-7"}`,
		`{"type":"mark_read","user":87654321,"id":"12345678-99999999999999999999"}`, `{"type":"mark_read","id":"12345678-7"}`,
	} {
		if _, err := wire.Decode([]byte(bad), wire.V2); err == nil || !strings.HasPrefix(err.Error(), "bad request: ") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
