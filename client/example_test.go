package client_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"pymessage/client"
)

// A bot that says back what it is told, once. The server is one that greets.
func Example() {
	said := make(chan string, 1)
	srv := httptest.NewServer(parrots("Pieces of eight!", said))
	defer srv.Close()

	parrot, err := client.New(client.Config{
		URLs: []string{srv.URL}, Username: "parrot", Pin: "1234", Create: true,
		OnEvent: func(ctx context.Context, c *client.Client, ev client.Event) {
			if ev.Kind == client.Message {
				sent, err := c.Send(ctx, ev.Peer, ev.Content)
				fmt.Println(sent.Status, err)
			}
			c.Close()
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(parrot.Run(context.Background()))
	fmt.Println(<-said)
	// Output:
	// success <nil>
	// <nil>
	// Pieces of eight!
}
