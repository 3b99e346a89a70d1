// The Go SDK over the end of its token; started by run.ts.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

func main() {
	connected := make(chan struct{}, 8)
	client := centrifuge.NewJsonClient(os.Getenv("LOCKSTEP_URL"), centrifuge.Config{
		MinReconnectDelay: 50 * time.Millisecond,
		GetToken: func(centrifuge.ConnectionTokenEvent) (string, error) {
			response, err := http.Get(os.Getenv("TOKEN_URL"))
			if err != nil {
				return "", err
			}
			defer response.Body.Close()
			text, err := io.ReadAll(response.Body)
			return string(text), err
		},
	})
	client.OnConnecting(func(e centrifuge.ConnectingEvent) { log.Println("connecting", e.Code, e.Reason) })
	client.OnConnected(func(centrifuge.ConnectedEvent) { log.Println("connected"); connected <- struct{}{} })
	client.OnDisconnected(func(e centrifuge.DisconnectedEvent) { log.Fatalln("ended for good:", e.Code, e.Reason) })
	if err := client.Connect(); err != nil {
		log.Fatalln(err)
	}
	<-connected
	refuse(client, 400, strings.Repeat("[", 65)+strings.Repeat("]", 65))
	refuse(client, 106, `"`+strings.Repeat("x", 70_000)+`"`)
	echo(client, `{"__proto__":{"a":1},"constructor":2}`)
	<-connected
	echo(client, `"after the refresh"`)
}

func call(client *centrifuge.Client, input string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	result, err := client.RPC(ctx, "echo", []byte(input))
	return string(result.Data), err
}

func echo(client *centrifuge.Client, input string) {
	if answer, err := call(client, input); err != nil || answer != input {
		log.Fatalln("answered", answer, "with", err)
	}
}

func refuse(client *centrifuge.Client, code uint32, input string) {
	_, err := call(client, input)
	var refused *centrifuge.Error
	if !errors.As(err, &refused) || refused.Code != code {
		log.Fatalln("not refused with", code, "but", err)
	}
}
