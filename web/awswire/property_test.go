package awswire

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// randomPut makes an input with any members; no list or map in it is empty.
func randomPut(r *rand.Rand) *putInput {
	text := func() string {
		runes := []rune("aZ0\"\\/\b\f\n\r\t\x00\x1f üß€日😀\u2028\ufffd")
		s := make([]rune, r.IntN(20))
		for i := range s {
			s[i] = runes[r.IntN(len(runes))]
		}
		return string(s)
	}
	in := &putInput{StreamName: text(), Type: text(), DryRun: r.IntN(2) == 0}
	maybe := func(f func()) {
		if r.IntN(2) == 0 {
			f()
		}
	}
	maybe(func() { n := int64(int32(r.Uint32())); in.Limit = &n })
	maybe(func() { in.Long = int64(r.Uint64()) >> r.IntN(64) })
	maybe(func() { w := At(time.UnixMilli(int64(r.Uint64()) >> (12 + r.IntN(40)))); in.When = &w })
	maybe(func() { in.Start = &startPosition{Type: text(), Time: At(time.UnixMilli(r.Int64N(1 << 41)))} })
	maybe(func() { in.Tags = map[string]string{text(): text(), text() + "x": text()} })
	for range r.IntN(4) {
		in.TagKeys = append(in.TagKeys, text())
	}
	for range r.IntN(40) {
		e := entry{Data: randomBytes(r.IntN(40)), PartitionKey: text()}
		if r.IntN(200) == 0 {
			e.Data, e.PartitionKey = randomBytes(r.IntN(100000)), string(bytes.Repeat([]byte("k"), r.IntN(3000)))
		}
		maybe(func() { k := text(); e.HashKey = &k })
		in.Records = append(in.Records, e)
	}
	return in
}

// TestRoundTrip sends random inputs through both encodings: struct -> JSON ->
// struct -> CBOR -> struct -> JSON.
func TestRoundTrip(t *testing.T) {
	const rounds, seed = 400, 11
	s := mustCompile(t, putInput{})
	r := rand.New(rand.NewPCG(seed, seed))
	for i := range rounds {
		in := randomPut(r)
		json := appendJSON(nil, s, in)
		var a, b putInput
		if _, err := decodeJSON(s, json, &a, nil); err != nil {
			t.Fatalf("round %d: %v\n%.1000s", i, err, json)
		}
		cbor := appendCBOR(nil, s, &a)
		if _, err := decodeCBOR(s, cbor, &b, nil); err != nil {
			t.Fatalf("round %d: %v\n%.1000x", i, err, cbor)
		}
		again := appendJSON(nil, s, &b)
		if !reflect.DeepEqual(in, &a) || !reflect.DeepEqual(in, &b) || !bytes.Equal(json, again) {
			for f := range s.fields {
				x, y, z := reflect.ValueOf(in).Elem().Field(f), reflect.ValueOf(a).Field(f), reflect.ValueOf(b).Field(f)
				if !reflect.DeepEqual(x.Interface(), y.Interface()) || !reflect.DeepEqual(x.Interface(), z.Interface()) {
					t.Errorf("%s changed", s.fields[f].name)
				}
			}
			t.Fatalf("round %d: changed on the way", i)
		}
	}
	t.Logf("%d rounds, seed %d", rounds, seed)
}
