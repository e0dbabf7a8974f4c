package consumer_test

import (
	"context"
	"fmt"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/consumer"
)

// oneShard is the smallest Source: a closed shard with two records.
type oneShard struct{}

func (oneShard) Shards(context.Context) ([]consumer.Shard, error) {
	return []consumer.Shard{{ID: "shardId-000000000000", Range: datastream.HashRange{End: datastream.MaxHashKey}}}, nil
}

func (oneShard) Iterator(context.Context, string, datastream.Start) (string, error) {
	return "begin", nil
}

func (oneShard) Records(context.Context, string, int) (consumer.Page, error) {
	return consumer.Page{Records: []consumer.Record{
		{Sequence: "1", PartitionKey: "yard", Data: []byte("cat")},
		{Sequence: "2", PartitionKey: "yard", Data: []byte("dog")},
	}}, nil
}

func ExampleRun() {
	ctx, stop := context.WithCancel(context.Background())
	err := consumer.Run(ctx, consumer.Options{
		App:    "door-bell",
		Source: oneShard{},
		Leases: consumer.NewMemory(),
		Handle: func(_ context.Context, b consumer.Batch) error {
			for _, r := range b.Records {
				fmt.Printf("%s: %s\n", r.PartitionKey, r.Data)
			}
			if b.End {
				stop()
			}
			return nil
		},
	})
	fmt.Println(err)
	// Output:
	// yard: cat
	// yard: dog
	// <nil>
}
