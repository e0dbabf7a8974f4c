package kinesisapi

import (
	"testing"

	"github.com/kineweir/kineweir/datastream"
)

func TestShardNames(t *testing.T) {
	for _, row := range []struct {
		name  string
		index uint32
		ok    bool
	}{
		{"shardId-000000000000", 0, true},
		{"shardId-000000000012", 12, true},
		{"shardId-002147483647", maxShard, true},
		{"shardId-5", 5, true},
		{"5", 5, true},
		{"a-0007", 7, true},
		{"-12", 12, true},
		{"shardId-00000000000000000000000000001", 1, true},
		{"shardId-002147483648", 0, false},
		{"2147483648", 0, false},
		{"x", 0, false},
		{"shardId-", 0, false},
		{"2.14E4", 0, false},
		{"shardId-+1", 0, false},
	} {
		index, ok := parseShard(row.name)
		if index != row.index || ok != row.ok {
			t.Errorf("%s: %d, %v", row.name, index, ok)
		}
	}
	for _, index := range []uint32{0, 9, 10, 4242, maxShard} {
		if back, ok := parseShard(shardName(index)); !ok || back != index || len(shardName(index)) != 20 {
			t.Errorf("%d: %s", index, shardName(index))
		}
	}
}

func TestARNs(t *testing.T) {
	for region, begins := range map[string]string{"eu-west-1": "arn:aws:", "cn-north-1": "arn:aws-cn:", "us-gov-west-1": "arn:aws-us-gov:"} {
		r := newRig(t, func(s *setup) { s.api.Region = region })
		arn := r.h.streamARN("s")
		equal(t, region, arn, begins+"kinesis:"+region+":"+account+":stream/s")
		got, err := r.h.parseARN(arn)
		must(t, err)
		equal(t, "stream", got, resource{arn: arn, stream: "s"})
		got, err = r.h.parseARN(arn + "/consumer/c:12")
		must(t, err)
		equal(t, "consumer", got, resource{arn: arn + "/consumer/c:12", stream: "s", consumer: "c", made: 12})
	}
}

// TestOptions: what can not work is said at the start.
func TestOptions(t *testing.T) {
	engine := newRig(t).engine
	for name, o := range map[string]Options{"no engine": {}, "account": {Engine: engine, Account: "12"}} {
		if h, err := New(t.Context(), o); err == nil || h != nil {
			t.Errorf("%s: no error", name)
		}
	}
	h, err := New(t.Context(), Options{Engine: engine})
	must(t, err)
	equal(t, "ARN", h.streamARN("s"), "arn:aws:kinesis:us-east-1:000000000000:stream/s")
	equal(t, "id", streamID(&datastream.Stream{ID: 1<<64 - 1}), "00000003w5e11264sgsf-000")
}
