package remote_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/consumer"
	"github.com/kineweir/kineweir/datastream/consumer/remote"
)

// Several processes of this program, on one machine or many, share the stream
// "detections" until they are interrupted.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	server := &remote.Client{Endpoint: "http://127.0.0.1:8080"}
	err := consumer.Run(ctx, consumer.Options{
		App:    "door-bell",
		Source: server.Source("detections"),
		Leases: server.Leases(),
		Start:  datastream.Start{From: datastream.Latest},
		Handle: func(ctx context.Context, b consumer.Batch) error {
			for _, r := range b.Records {
				fmt.Printf("%s %s\n", r.PartitionKey, r.Data)
			}
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
}
