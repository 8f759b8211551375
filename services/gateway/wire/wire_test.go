package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
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

			got, err := wire.Decode([]byte(frame))
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

			_, err := wire.Decode([]byte(frame))
			if err == nil || err.Error() != want {
				t.Fatalf("got %v, want %s", err, want)
			}
		})
	}
}

func TestContentOfTheFullLengthIsTaken(t *testing.T) {
	t.Parallel()

	content := strings.Repeat("☃", wire.MaxContent)
	req, err := wire.Decode([]byte(`{"type":"send_msg","recipient":12345678,"content":"` + content + `"}`))
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
		{string(wire.ErrorResp(wire.NotConnected(12345678))), `{"type":"error","error":"12345678 is not connected to the network"}`},
		{string(wire.ErrorResp(wire.NotFriend(12345678))), `{"type":"error","error":"12345678 is not your friend"}`},
		{string(wire.ErrorResp(wire.RequestFailed(1))), `{"type":"error","error":"failed to send friend request to 1"}`},
		{string(wire.ErrorResp(wire.NoRequest(1))), `{"type":"error","error":"no friend request from 1"}`},
		{string(wire.ErrorResp(wire.AddFailed(1))), `{"type":"error","error":"failed to add friend 1"}`},
		{string(wire.ErrorResp(wire.DenyFailed(1))), `{"type":"error","error":"failed to deny friend 1"}`},
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
	f.Fuzz(func(t *testing.T, frame []byte) {
		req, err := wire.Decode(frame)
		var protocol wire.Error
		if err != nil {
			if !errors.As(err, &protocol) || protocol == "" {
				t.Fatalf("not a protocol error: %#v", err)
			}
			if !json.Valid(wire.ErrorResp(err.Error())) {
				t.Fatalf("error frame of %q is not JSON", err)
			}
			return
		}
		if req.User < 0 || strings.ContainsRune(req.Content, 0) || len([]rune(req.Content)) > wire.MaxContent {
			t.Fatalf("accepted %+v", req)
		}
		if req.Type == wire.SendMsg {
			event := wire.MessageEvent(12345678, req.Content)
			var back struct{ Content string }
			if json.Unmarshal(event, &back) != nil || back.Content != req.Content || bytes.ContainsRune(event, '\n') {
				t.Fatalf("content does not survive: %q", event)
			}
		}
	})
}
