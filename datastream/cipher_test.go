package datastream

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/kineweir/kineweir/datastream/segment"
)

func TestEncryption(t *testing.T) {
	g := newGround(t)
	e := g.open(t)
	mustCreate(t, e, "s", 2)
	ctx := t.Context()
	var put []Put
	sealed := map[string]bool{}
	more := func(want bool) {
		t.Helper()
		for range 5 {
			p := Put{PartitionKey: fmt.Sprint("key", len(put)), Data: fmt.Append(nil, "secret ", len(put))}
			if r := mustPut(t, e, "s", p.PartitionKey, string(p.Data)); r.Encrypted != want {
				t.Errorf("%s: encrypted %v", p.Data, r.Encrypted)
			}
			sealed[string(p.Data)] = want
			put = append(put, p)
		}
	}
	check := func() {
		t.Helper()
		got := readAll(t, e, "s")
		checkSame(t, got, put)
		for _, r := range got {
			if r.Encrypted != sealed[string(r.Data)] {
				t.Errorf("%s: encrypted %v", r.Data, r.Encrypted)
			}
		}
	}
	steps := []struct {
		do   func() error
		want bool
	}{
		{func() error { return nil }, false},
		{func() error { return e.Encrypt(ctx, "s", "alias/aws/kinesis") }, true},
		{func() error { g.close(t); e = g.open(t); return nil }, true},
		{func() error { return e.Encrypt(ctx, "s", "mine") }, true},
		{func() error { return e.Split(ctx, "s", 0, HashKey{1 << 62, 0}) }, true},
		{func() error { return e.Decrypt(ctx, "s", "mine") }, false},
		{func() error { g.close(t); e = g.open(t); return nil }, false},
		{func() error { return e.Encrypt(ctx, "s", "mine") }, true},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatal(err)
		}
		more(s.want)
		check()
	}
	for _, entry := range g.lane.(*memoryLane).entries {
		plain := bytes.Contains(entry.Payload, []byte("secret"))
		i := bytes.Index(entry.Payload, []byte("secret"))
		if plain && sealed[string(entry.Payload[i:])] {
			t.Errorf("%q lies open", entry.Payload)
		}
	}
	g.close(t)
	e = g.open(t)
	g.keys.disabled["mine"] = true
	_, err := e.Put(ctx, "s", put[:1], PutOptions{})
	wantKind(t, err, ErrKeyDisabled)
	delete(g.keys.keys, "alias/aws/kinesis")
	failed := 0
	for _, sh := range mustShards(t, e, "s", "") {
		if _, err := e.Read(ctx, "s", mustSeek(t, e, "s", sh.Index, Start{From: TrimHorizon}), 0, 0); errors.Is(err, ErrKeyNotFound) || errors.Is(err, ErrKeyDisabled) {
			failed++
		}
	}
	if failed == 0 {
		t.Error("records open without their key")
	}
	g.keys.disabled = nil
	if _, err := e.Put(ctx, "s", put[:1], PutOptions{}); err != nil {
		t.Error(err)
	}
}

// TestSealedBinding: a sealed record opens where it was put and nowhere else,
// and no bit of it can change.
func TestSealedBinding(t *testing.T) {
	e := openEngine(t)
	mustCreate(t, e, "s", 1)
	if err := e.Encrypt(t.Context(), "s", "mine"); err != nil {
		t.Fatal(err)
	}
	s, _ := e.find("s")
	p := s.now()
	c, err := e.sealer(s, p)
	if err != nil {
		t.Fatal(err)
	}
	n := new(binding)
	body := c.seal(nil, n, s.id, 3, "key", []byte("data"))
	content, err := e.unseal(nil, n, s, p, 3, body)
	if err != nil {
		t.Fatal(err)
	}
	if key, data, err := parseContent(content); key != "key" || string(data) != "data" || err != nil {
		t.Error(key, data, err)
	}
	if _, err := e.unseal(nil, n, s, p, 4, body); err == nil {
		t.Error("opens in another shard")
	}
	other := &stream{name: "s", id: s.id + 1}
	if _, err := e.unseal(nil, n, other, p, 3, body); err == nil {
		t.Error("opens in another stream")
	}
	for i := range body {
		flipped := bytes.Clone(body)
		flipped[i] ^= 1
		sh := &shard{index: 3}
		var r Record
		_, err := e.decode(s, p, sh, &segment.Record{Body: flipped}, &r, nil, n)
		if err == nil && string(r.Data) == "data" {
			t.Errorf("opens with byte %d changed", i)
		}
	}
	seen := map[string]bool{}
	for range 1000 {
		b := c.seal(nil, n, s.id, 3, "", nil)
		if nonce := string(b[bodyHeader+4 : sealHeader]); seen[nonce] {
			t.Fatal("a nonce twice")
		} else {
			seen[nonce] = true
		}
	}
}

func FuzzBody(f *testing.F) {
	f.Add(append(appendHead(nil, "key"), "data"...))
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{1, 1, 0, 0, 0, 1})
	e := &Engine{}
	s := &stream{}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Record
		if _, err := e.decode(s, &picture{}, &shard{}, &segment.Record{Body: b}, &r, nil, new(binding)); err == nil && len(r.PartitionKey)+len(r.Data) > len(b) {
			t.Error("more came out than went in")
		}
	})
}

func FuzzChunk(f *testing.F) {
	f.Add(encodeChunk([]*shard{{index: 1, parent: NoShard, adjacent: 7, rng: HashRange{HashKey{1, 2}, MaxHashKey}, made: 5, closed: 6, epoch: 7}}))
	f.Add([]byte{1, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		shards, err := decodeChunk(b)
		if err != nil {
			return
		}
		again, err := decodeChunk(encodeChunk(shards))
		if err != nil || !slices.EqualFunc(shards, again, func(x, y *shard) bool { return *x == *y }) {
			t.Errorf("%v, %v, %v", shards, again, err)
		}
	})
}
