// Package client speaks the socket protocol of pymessage, for bots and tools. It
// keeps one user connected: it reconnects, resumes where it was, repeats what was
// not answered, and hands over every event once and in order.
//
// A bot that repeats what it is told:
//
//	bot, err := client.New(client.Config{
//		URLs: []string{"ws://localhost:6969/"}, Username: "parrot", Pin: "1234", Create: true,
//		OnEvent: func(ctx context.Context, c *client.Client, ev client.Event) {
//			if ev.Kind == client.Message {
//				_, _ = c.Send(ctx, ev.Peer, ev.Content)
//			}
//		},
//	})
//	if err == nil {
//		err = bot.Run(ctx)
//	}
//
// # What is promised
//
// In version 2 of the protocol, the default:
//
//   - Within the life of a Client each event is handed over once, in the order of
//     the inbox, however often the connection breaks. Where the server says that
//     there is a hole, OnResync hears of it.
//   - An event is confirmed to the server only after OnEvent has returned. To go on
//     from the same place in another process, keep Client.State.
//   - Client.Send stores its message once: it is repeated with the same nonce until
//     it is answered or its context ends.
//
// In version 1 the library cannot know what it has missed or got before: events of
// the last seconds before a connection broke may come twice, and a Send whose
// connection broke before the answer fails with ErrUnknownOutcome.
//
// # How it works
//
//	         Run: dial, log in or resume          pause, next URL
//	        ┌───────────────────────────────────────────────────┐
//	        ▼                                                   │ connection ends
//	reader: frames ──▶ answers ──▶ whoever called Send, Friends, ...
//	               └─▶ events ──▶ inbox ──▶ handler goroutine: OnEvent ──▶ acks ─┐
//	writer: requests, acks  ◀────────────────────────────────────────────────────┘
//
// Everything that can grow is bounded: requests without an answer (then callers
// wait), and events that OnEvent has not got yet (then the server keeps them).
package client
