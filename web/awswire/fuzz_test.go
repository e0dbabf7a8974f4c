package awswire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime/metrics"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// allocated is how many bytes the program has allocated so far.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// maxAllocated bounds what may be allocated for a body: members of a few letters
// become structs of some words, up to as many as are kept.
func maxAllocated(body []byte) uint64 { return 2<<20 + 100*uint64(len(body)) }

type decoder func(*shape, []byte, any, *memory) (*intake, error)

// decodeFuzzed decodes and validates, checks the memory that it took, and that
// what was read is read again from what is written of it.
func decodeFuzzed(t *testing.T, s *shape, body []byte, decode decoder) error {
	before := allocated()
	kept := bytes.Clone(body)
	var in putInput
	v := &in
	taken, err := decode(s, body, v, nil)
	if took := allocated() - before; took > maxAllocated(body) {
		t.Fatalf("%d bytes of body took %d bytes of memory", len(body), took)
	}
	if !bytes.Equal(kept, body) {
		t.Fatal("the body was changed")
	}
	if err != nil {
		return err
	}
	validate(s, v, taken)
	written := appendJSON(nil, s, v)
	var a, b putInput
	if _, err := decodeJSON(s, written, &a, nil); err != nil {
		t.Fatalf("%v: %.500s", err, written)
	}
	if _, err := decodeCBOR(s, appendCBOR(nil, s, v), &b, nil); err != nil {
		t.Fatalf("%v: %.500s", err, written)
	}
	for _, back := range []*putInput{&a, &b} {
		if again := appendJSON(nil, s, back); !bytes.Equal(again, written) {
			t.Fatalf("changed on the way:\n%.500s\n%.500s", written, again)
		}
	}
	return nil
}

func FuzzDecodeJSON(f *testing.F) {
	s := mustCompile(f, putInput{})
	plan := planned(s, map[*shape]*shape{})
	for _, seed := range []string{
		`{}`, `[]`, `{"StreamName":"a\u00e4\ud83d\ude00","Records":[{"Data":"AAEC\/w==","PartitionKey":"k"},null]}`,
		`{"When":-1.7e9,"Limit":34.56,"Long":1e999,"DryRun":true,"Tags":{"a":"b","a":null}}`,
		`{"StartingPosition":{"Type":""},"StartingPosition":{},"Metrics":[],"TagKeys":["a"]}`,
		`{"X":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`, "{\"\xff\":1}", `{"a":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		err := decodeFuzzed(t, s, body, decodeJSON)
		sameBothWays(t, s, plan, body, decodeJSON)
		readable := validJSON(body)
		if (err == errSyntax) == readable {
			t.Fatalf("readable: %v, decoded: %v", readable, err)
		}
		// The standard library reads whatever we read; what it reads and we do not is
		// too deep, no object, not UTF-8 or half a pair of surrogates.
		switch lib := json.Valid(body); {
		case readable && !lib:
			t.Fatal("we read what is no JSON")
		case lib && !readable && utf8.Valid(body) && !bytes.Contains(bytes.ToLower(body), []byte(`\ud`)) &&
			bytes.Count(body, []byte("[")) < maxDepth/2 && bytes.Count(body, []byte("{")) < maxDepth/2:
			if c := bytes.TrimSpace(body)[0]; c == '{' || c == '[' {
				t.Fatal("we do not read what is JSON")
			}
		}
	})
}

func FuzzDecodeCBOR(f *testing.F) {
	s := mustCompile(f, putInput{})
	plan := planned(s, map[*shape]*shape{})
	for _, seed := range []string{
		"a0", "bfff", "a16a53747265616d4e616d656161", "bf675265636f7264739fbf64446174615f41004201 02ffffffff",
		"a1645768656ec11b0000018bcfe5687b", "a1645768656ec1fb41d954fc40080000", "a1654c696d6974f94f00",
		"a16454616773a2616261316161f6", "bbffffffffffffffff", "a167 5265636f726473 9bffffffffffffffff",
		"a1705374617274696e67506f736974696f6ea16454797065 6141", "d9d9f7a16178f8ff",
	} {
		f.Add(unhex(f, seed))
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 3 {
		f.Add(appendCBOR(nil, s, randomPut(r)))
	}
	mode, err := cbor.DecOptions{MaxNestedLevels: 256, MaxArrayElements: 1 << 30, MaxMapPairs: 1 << 30}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		err := decodeFuzzed(t, s, body, decodeCBOR)
		sameBothWays(t, s, plan, body, decodeCBOR)
		readable := validCBOR(body)
		if err == errSyntax && readable && !oddValue(body) || err != errSyntax && !readable {
			t.Fatalf("readable: %v, decoded: %v", readable, err)
		}
		if readable {
			if err := mode.Wellformed(body); err != nil {
				t.Fatalf("we read what is no CBOR: %v", err)
			}
		}
	})
}

// oddValue reports whether the body has what is CBOR and no value: a name that
// is no text, or a simple value. Only the decoder minds it.
func oddValue(body []byte) bool {
	var v any
	err := cbor.Unmarshal(body, &v)
	return err != nil || odd(v)
}

func odd(v any) bool {
	switch v := v.(type) {
	case map[any]any:
		for k, e := range v {
			if _, ok := k.(string); !ok || odd(e) {
				return true
			}
		}
	case []any:
		for _, e := range v {
			if odd(e) {
				return true
			}
		}
	case cbor.SimpleValue:
		return true
	case cbor.Tag:
		return odd(v.Content)
	}
	return false
}

func FuzzReadEvent(f *testing.F) {
	f.Add(AppendEvent(nil, []byte("{}"), ":message-type", "event", ":event-type", InitialResponse))
	f.Add(AppendEvent(AppendEvent(nil, nil), []byte("x"), "a", ""))
	if b, err := hex.DecodeString("000000100000000005c248eb7d98c8ff"); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := allocated()
		r := bytes.NewReader(b)
		for {
			e, err := ReadEvent(r)
			if took := allocated() - before; took > 8<<20+50*uint64(len(b)) {
				t.Fatalf("%d bytes took %d bytes of memory", len(b), took)
			}
			if err != nil {
				if !errors.Is(err, ErrEvent) && err != io.EOF && err != io.ErrUnexpectedEOF {
					t.Fatal(err)
				}
				return
			}
			again, err := ReadEvent(bytes.NewReader(AppendEvent(nil, e.Payload, flat(e.Headers)...)))
			if err != nil || !bytes.Equal(again.Payload, e.Payload) || !reflect.DeepEqual(again.Headers, e.Headers) {
				t.Fatalf("%v: %v became %v", err, e, again)
			}
		}
	})
}

func flat(headers []Header) (all []string) {
	for _, h := range headers {
		all = append(all, h.Name, h.Value)
	}
	return all
}
