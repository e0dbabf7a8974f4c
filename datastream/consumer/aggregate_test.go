package consumer

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream"
)

type testUser struct {
	key, hash int // hash -1 = none
	data      string
}

func tag(b []byte, number, wire uint64) []byte { return binary.AppendUvarint(b, number<<3|wire) }

func text(b []byte, number uint64, s string) []byte {
	b = binary.AppendUvarint(tag(b, number, wireBytes), uint64(len(s)))
	return append(b, s...)
}

// sealed wraps a protobuf as the producer library does.
func sealed(body []byte) []byte {
	sum := md5.Sum(body)
	return append(append([]byte(aggregateMagic), body...), sum[:]...)
}

// aggregateOf makes an aggregated record.
func aggregateOf(keys, hashes []string, users []testUser) []byte {
	var b []byte
	for _, k := range keys {
		b = text(b, 1, k)
	}
	for _, h := range hashes {
		b = text(b, 2, h)
	}
	for _, u := range users {
		r := binary.AppendUvarint(tag(nil, 1, wireVarint), uint64(u.key))
		if u.hash >= 0 {
			r = binary.AppendUvarint(tag(r, 2, wireVarint), uint64(u.hash))
		}
		b = text(b, 3, string(text(r, 3, u.data)))
	}
	return sealed(b)
}

func TestDeaggregate(t *testing.T) {
	at := time.Unix(1e9, 0)
	lie := func(data []byte) Record { return Record{Sequence: "77", PartitionKey: "a", Data: data, Arrived: at} }
	data := aggregateOf([]string{"k0", "k1"}, []string{"0", "340282366920938463463374607431768211455"},
		[]testUser{{0, -1, "zero"}, {1, 0, "one"}, {1, 1, ""}})
	want := []Record{
		{"77", 0, true, "k0", "", []byte("zero"), at},
		{"77", 1, true, "k1", "0", []byte("one"), at},
		{"77", 2, true, "k1", "340282366920938463463374607431768211455", []byte{}, at},
	}
	same := func(a, b Record) bool {
		return a.Sequence == b.Sequence && a.Sub == b.Sub && a.Aggregated == b.Aggregated && a.PartitionKey == b.PartitionKey &&
			a.ExplicitHash == b.ExplicitHash && bytes.Equal(a.Data, b.Data) && a.Arrived.Equal(b.Arrived)
	}
	if got := Deaggregate(lie(data), nil, nil); !slices.EqualFunc(got, want, same) {
		t.Errorf("%+v", got)
	}
	before := []Record{{Sequence: "76"}}
	if got := Deaggregate(lie(data), nil, before); len(got) != 4 || got[0].Sequence != "76" {
		t.Errorf("not appended: %+v", got)
	}
	low := &datastream.HashRange{End: datastream.HashKey{Hi: 1 << 62}}
	for _, r := range Deaggregate(lie(data), low, nil) {
		if r.Sub == 2 || r.Sub == 0 && !low.Has(datastream.HashOf("k0")) {
			t.Errorf("foreign: %+v", r)
		}
	}
	if n := len(Deaggregate(lie(data), low, nil)); n == 0 || n == 3 {
		t.Errorf("%d left in the range", n)
	}
	if got := Deaggregate(lie([]byte("plain")), &datastream.HashRange{}, nil); len(got) != 1 || got[0].Aggregated {
		t.Errorf("an ordinary record is never foreign: %+v", got)
	}
	if got := Deaggregate(lie(sealed(nil)), nil, nil); len(got) != 0 {
		t.Errorf("empty: %+v", got)
	}
}

// TestPlain: what does not check, or cannot be read, is one ordinary record.
func TestPlain(t *testing.T) {
	user := func(fields ...func([]byte) []byte) []byte {
		var r []byte
		for _, f := range fields {
			r = f(r)
		}
		return sealed(text(text(nil, 1, "k"), 3, string(r)))
	}
	index := func(n uint64) func([]byte) []byte {
		return func(b []byte) []byte { return binary.AppendUvarint(tag(b, 1, wireVarint), n) }
	}
	payload := func(b []byte) []byte { return text(b, 3, "x") }
	good := user(index(0), payload)
	bad := bytes.Clone(good)
	bad[len(bad)-1] ^= 1
	for name, c := range map[string]struct {
		data  []byte
		plain bool
	}{
		"good":             {good, false},
		"tags":             {user(index(0), payload, func(b []byte) []byte { return text(b, 4, "tag") }), false},
		"unknown fields":   {sealed(binary.LittleEndian.AppendUint64(tag(binary.LittleEndian.AppendUint32(tag(nil, 9, wire32), 1), 10, wire64), 1)), false},
		"empty":            {nil, true},
		"magic alone":      {[]byte(aggregateMagic), true},
		"no checksum":      {good[:len(good)-1], true},
		"bad checksum":     {bad, true},
		"another magic":    {append([]byte("\xf3\x89\x9a\xc3"), good[4:]...), true},
		"no key":           {user(payload), true},
		"no data":          {user(index(0)), true},
		"key out of table": {user(index(1), payload), true},
		"huge index":       {user(index(1<<63), payload), true},
		"hash out of table": {user(index(0), payload, func(b []byte) []byte {
			return binary.AppendUvarint(tag(b, 2, wireVarint), 0)
		}), true},
		"hash is no number": {sealed(text(nil, 2, "x")), true},
		"key as number":     {sealed(binary.AppendUvarint(tag(nil, 1, wireVarint), 1)), true},
		"data as number":    {user(index(0), func(b []byte) []byte { return binary.AppendUvarint(tag(b, 3, wireVarint), 1) }), true},
		"field 0":           {sealed(text(nil, 0, "x")), true},
		"group":             {sealed(tag(nil, 5, 3)), true},
		"cut tag":           {sealed([]byte{0x80}), true},
		"cut length":        {sealed([]byte{0x0a, 0x80}), true},
		"too long":          {sealed([]byte{0x0a, 0x05, 'x'}), true},
		"far too long":      {sealed([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}), true},
	} {
		r := Record{Sequence: "1", Data: c.data}
		got := Deaggregate(r, nil, nil)
		if plain := len(got) == 1 && !got[0].Aggregated && bytes.Equal(got[0].Data, c.data); plain != c.plain {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// FuzzDeaggregate: any bytes give records that lie within them, in order; half
// of the inputs get the frame they need.
func FuzzDeaggregate(f *testing.F) {
	data := aggregateOf([]string{"a", "b"}, []string{"5"}, []testUser{{0, -1, "x"}, {1, 0, "y"}})
	f.Add(data, false)
	f.Add(data[4:len(data)-md5.Size], true)
	f.Add([]byte("plain"), false)
	f.Fuzz(func(t *testing.T, data []byte, frame bool) {
		if frame {
			data = sealed(data)
		}
		within := &datastream.HashRange{End: datastream.HashKey{Hi: 1 << 63}}
		all := Deaggregate(Record{Sequence: "1", PartitionKey: "p", Data: data}, nil, nil)
		some := Deaggregate(Record{Sequence: "1", PartitionKey: "p", Data: data}, within, nil)
		total := 0
		for i, r := range all {
			total += len(r.Data)
			if r.Sequence != "1" || r.Sub != int64(i) {
				t.Fatalf("record %d: %+v", i, r)
			}
		}
		if total > len(data) || len(some) > len(all) {
			t.Fatalf("%d bytes of %d, %d of %d records", total, len(data), len(some), len(all))
		}
	})
}

func BenchmarkDeaggregate(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	var keys []string
	var users []testUser
	for i := range 100 {
		keys = append(keys, strconv.FormatUint(rng.Uint64(), 36))
		users = append(users, testUser{i, -1, string(make([]byte, 400))})
	}
	r := Record{Data: aggregateOf(keys, nil, users)}
	b.SetBytes(int64(len(r.Data)))
	b.ReportAllocs()
	var into []Record
	for b.Loop() {
		into = Deaggregate(r, nil, into[:0])
	}
}
