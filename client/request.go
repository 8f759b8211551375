package client

import "encoding/json"

// request is a frame that is sent. Version 2 numbers it, and the answer carries
// the number; version 1 answers in order.
type request interface{ number(ref int64) }

// head begins every request.
type head struct {
	Type string `json:"type"`
	Ref  int64  `json:"ref,omitempty"`
}

func (h *head) number(ref int64) { h.Ref = ref }

type loginRequest struct { // login and create_acc
	head
	Username string `json:"username"`
	Pin      string `json:"pin"`
}

type resumeRequest struct {
	head
	Token string `json:"token"`
	Since int64  `json:"since"`
	Epoch string `json:"epoch"`
}

type ackRequest struct {
	head
	Seq int64 `json:"seq"`
}

type sendRequest struct {
	head
	Recipient int    `json:"recipient"`
	Content   string `json:"content"`
	Nonce     string `json:"nonce,omitempty"`
}

type findRequest struct {
	head
	Username string `json:"username"`
}

type historyRequest struct {
	head
	User   int    `json:"user"`
	Before string `json:"before,omitempty"`
	Limit  int    `json:"limit"`
}

type readRequest struct {
	head
	User int    `json:"user"`
	ID   string `json:"id"`
}

type userRequest struct { // all that is done about a user
	head
	User int `json:"user"`
}

func encode(r request) []byte {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return data
}
