package awswire

import (
	"encoding/hex"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCBORValues reads members in every form that RFC 8949 has for them. The
// bytes are written by hand.
func TestCBORValues(t *testing.T) {
	s := mustCompile(t, putInput{})
	const (
		name  = "6a 53747265616d4e616d65" // "StreamName"
		limit = "65 4c696d6974"
		long  = "64 4c6f6e67"
		when  = "64 5768656e"
		dry   = "66 447279 52756e"
		recs  = "67 5265636f726473"
		data  = "64 44617461"
		key   = "6c 506172746974696f6e4b6579"
		tags  = "64 54616773"
		keys  = "67 5461674b657973"
		start = "70 5374617274696e67506f736974696f6e"
		typ   = "64 54797065"
	)
	for _, c := range []struct{ name, body, want string }{
		{"empty", "a0", `{"StreamName":""}`},
		{"empty, open", "bf ff", `{"StreamName":""}`},
		{"text", "a1" + name + "61 61", `{"StreamName":"a"}`},
		{"text, length in a byte", "b8 01" + name + "78 01 61", `{"StreamName":"a"}`},
		{"text, length in 2", "b9 0001" + name + "79 0001 61", `{"StreamName":"a"}`},
		{"text, length in 4", "ba 00000001" + name + "7a 00000001 61", `{"StreamName":"a"}`},
		{"text, length in 8", "bb 0000000000000001" + name + "7b 0000000000000001 61", `{"StreamName":"a"}`},
		{"text in pieces", "bf" + name + "7f 61 61 60 62 c3bc ff ff", `{"StreamName":"aü"}`},
		{"name in pieces", "bf 7f 66 53747265616d 64 4e616d65 ff 61 61 ff", `{"StreamName":"a"}`},
		{"self-described", "d9d9f7 a1" + name + "61 61", `{"StreamName":"a"}`},
		{"last wins", "a2" + name + "61 61" + name + "61 62", `{"StreamName":"b"}`},
		{"null", "a2" + name + "f6" + limit + "f6", `{"StreamName":""}`},
		{"undefined", "a1" + limit + "f7", `{"StreamName":""}`},
		{"int", "a1" + limit + "17", `{"StreamName":"","Limit":23}`},
		{"int in a byte", "a1" + limit + "18 18", `{"StreamName":"","Limit":24}`},
		{"int in 2", "a1" + limit + "19 0100", `{"StreamName":"","Limit":256}`},
		{"int in 4", "a1" + limit + "1a 00010000", `{"StreamName":"","Limit":65536}`},
		{"int, clamped", "a1" + limit + "1a ffffffff", `{"StreamName":"","Limit":2147483647}`},
		{"negative", "a1" + limit + "38 63", `{"StreamName":"","Limit":-100}`},
		{"half", "a1" + limit + "f9 4f00", `{"StreamName":"","Limit":28}`},
		{"half, cut off", "a1" + limit + "f9 3e00", `{"StreamName":"","Limit":1}`},
		{"half, tiny", "a1" + limit + "f9 0001", `{"StreamName":"","Limit":0}`},
		{"half, infinite", "a1" + limit + "f9 7c00", `{"StreamName":"","Limit":2147483647}`},
		{"half, minus infinite", "a1" + long + "f9 fc00", `{"StreamName":"","Long":-9223372036854775808}`},
		{"half, no number", "a1" + limit + "f9 7e00", `{"StreamName":"","Limit":0}`},
		{"float", "a1" + limit + "fa 47c35000", `{"StreamName":"","Limit":100000}`},
		{"double", "a1" + limit + "fb 4059000000000000", `{"StreamName":"","Limit":100}`},
		{"long", "a1" + long + "1b 000000e8d4a51000", `{"StreamName":"","Long":1000000000000}`},
		{"longer", "a1" + long + "1b ffffffffffffffff", `{"StreamName":"","Long":9223372036854775807}`},
		{"least", "a1" + long + "3b ffffffffffffffff", `{"StreamName":"","Long":-9223372036854775808}`},
		{"true", "a1" + dry + "f5", `{"StreamName":"","DryRun":true}`},
		{"time in milliseconds", "a1" + when + "c1 1b 0000018bcfe5687b", `{"StreamName":"","When":1700000000.123}`},
		{"time without tag", "a1" + when + "1b 0000018bcfe5687b", `{"StreamName":"","When":1700000000.123}`},
		{"time in seconds of the RFC", "a1" + when + "c1 fb 41d954fc40080000", `{"StreamName":"","When":1700000000.125}`},
		{"time before 1970", "a1" + when + "c1 39 05db", `{"StreamName":"","When":-1.5}`},
		{"records", "a1" + recs + "81 a2" + data + "43 000102" + key + "61 6b", `{"Records":[{"Data":"AAEC","PartitionKey":"k"}],"StreamName":""}`},
		{"records, open", "bf" + recs + "9f bf" + data + "5f 41 00 42 0102 ff" + key + "61 6b ff bf ff ff ff", `{"Records":[{"Data":"AAEC","PartitionKey":"k"},{"Data":"","PartitionKey":""}],"StreamName":""}`},
		{"null member", "a1" + recs + "81 f6", `{"Records":[{"Data":"","PartitionKey":""}],"StreamName":""}`},
		{"map", "a1" + tags + "a2 61 62 61 31 61 61 61 32", `{"StreamName":"","Tags":{"a":"2","b":"1"}}`},
		{"map, open, with null", "a1" + tags + "bf 61 62 61 31 61 61 f6 ff", `{"StreamName":"","Tags":{"b":"1"}}`},
		{"list", "a1" + keys + "82 61 62 61 61", `{"StreamName":"","TagKeys":["b","a"]}`},
		{"struct", "a1" + start + "a1" + typ + "61 41", `{"StreamName":"","StartingPosition":{"Type":"A"}}`},
		{"unknown members", "a6 61 78 9f 01 20 f6 f0 f8ff ff 61 79 bf 05 f5 ff 61 7a c2 43 010000 61 71 d8 20 61 61 61 72 f9 0000" + name + "61 61", `{"StreamName":"a"}`},

		{"nothing", "", ""},
		{"no map", "61 61", ""},
		{"null alone", "f6", ""},
		{"something after it", "a0 00", ""},
		{"a member is missing", "a1" + name, ""},
		{"no end", "bf" + name + "61 61", ""},
		{"break in a map with a length", "a1 ff", ""},
		{"break for a value", "bf" + name + "ff", ""},
		{"text too short", "a1" + name + "62 61", ""},
		{"length of all there is", "a1" + name + "7b ffffffffffffffff", ""},
		{"list longer than the body", "a1" + keys + "9b ffffffffffffffff", ""},
		{"map longer than the body", "bb ffffffffffffffff", ""},
		{"not utf-8", "a1" + name + "61 ff", ""},
		{"not utf-8, ignored", "a1 61 78 61 ff", ""},
		{"character over two pieces", "a1" + name + "7f 61 c3 61 bc ff", ""},
		{"bytes in a text", "a1" + name + "7f 41 61 ff", ""},
		{"open piece", "a1" + name + "7f 7f 61 61 ff ff", ""},
		{"number for a name", "a1 01 01", ""},
		{"reserved", "a1" + limit + "1c", ""},
		{"open number", "a1" + limit + "1f", ""},
		{"simple value in two bytes", "a1 61 78 f8 18", ""},
		{"simple value for a number", "a1" + limit + "f0", ""},
		{"tag without a value", "a1" + when + "c1", ""},
		{"deep", "a1 61 78" + strings.Repeat("81", 100) + "00", ""},
		{"deep tags", "a1 61 78" + strings.Repeat("c1", 100) + "00", ""},
		{"deep, open", "a1 61 78" + strings.Repeat("9f", 100) + strings.Repeat("ff", 100), ""},
		{"wrong type, then malformed", "a2" + name + "01" + limit + "1c", ""},
	} {
		var in putInput
		_, err := decodeCBOR(s, unhex(t, c.body), &in, nil)
		switch got := string(appendJSON(nil, s, &in)); {
		case c.want == "" && err != errSyntax:
			t.Errorf("%s: %v, %s", c.name, err, got)
		case c.want != "" && (err != nil || got != c.want):
			t.Errorf("%s: %v\n got %s\nwant %s", c.name, err, got, c.want)
		}
	}
}

// TestCBORTypes gives each kind of member a wrong type.
func TestCBORTypes(t *testing.T) {
	s := mustCompile(t, putInput{})
	for _, c := range []struct{ body, want string }{
		{"a1 6a 53747265616d4e616d65 01", "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String"},
		{"a1 6a 53747265616d4e616d65 41 61", "class java.nio.HeapByteBuffer can not be converted to an String"},
		{"a1 65 4c696d6974 61 61", "class java.lang.String can not be converted to an Integer"},
		{"a1 65 4c696d6974 f5", "class java.lang.Boolean can not be converted to an Integer"},
		{"a1 66 44727952756e 61 61", "'A' can not be converted to an Boolean"},
		{"a1 64 5768656e 61 61", "class java.lang.String can not be converted to milliseconds since epoch"},
		{"a1 64 5768656e c1 fb 7ff0000000000000", "the number can not be converted to milliseconds since epoch"},
		{"a1 67 5265636f726473 81 a1 64 44617461 61 61", "class java.lang.String can not be converted to a Blob"},
		{"a1 67 5265636f726473 01", "Expected list or null"},
		{"a1 67 5265636f726473 a0", "Start of structure or map found where not expected."},
		{"a1 64 54616773 01", "Expected map or null"},
		{"a1 64 54616773 a1 61 61 01", "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String"},
		{"a1 70 5374617274696e67506f736974696f6e 41 00", "Expected null"},
		{"80", "Start of list found where not expected"},
	} {
		var in putInput
		_, err := decodeCBOR(s, unhex(t, c.body), &in, nil)
		if err == nil || err.Error() != c.want || err == errSyntax {
			t.Errorf("%s: %v, want %s", c.body, err, c.want)
		}
	}
}

// TestCBORGolden writes an answer whose bytes were put together by hand.
func TestCBORGolden(t *testing.T) {
	iterator := "it"
	out := records{
		Records: []record{{
			SequenceNumber: "4959", Arrival: At(time.UnixMilli(1700000000123)),
			Data: []byte{0, 1, 255}, PartitionKey: "ü",
		}},
		NextShardIterator: &iterator, MillisBehindLatest: 1000,
	}
	got := appendCBOR(nil, mustCompile(t, out), &out)
	want := "bf" + // open map
		"67 5265636f726473 81" + // "Records", list of 1
		"bf" +
		"6e 53657175656e63654e756d626572 64 34393539" + // "SequenceNumber" "4959"
		"78 1b 417070726f78696d6174654172726976616c54696d657374616d70" + // "ApproximateArrivalTimestamp"
		"c1 1b 0000018bcfe5687b" + // tag 1, integer
		"64 44617461 43 0001ff" + // "Data", bytes
		"6c 506172746974696f6e4b6579 62 c3bc" +
		"ff" +
		"71 4e6578745368617264 4974657261746f72 62 6974" +
		"72 4d696c6c69 73426568696e644c6174657374 19 03e8" +
		"ff"
	if hex.EncodeToString(got) != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got  %x\nwant %s", got, strings.ReplaceAll(want, " ", ""))
	}
}

// foreignPut is putInput as the independent library reads and writes it.
type foreignPut struct {
	Records []struct {
		Data            []byte
		PartitionKey    string
		ExplicitHashKey *string `cbor:",omitempty"`
	} `cbor:",omitempty"`
	StreamName       string
	DryRun           bool              `cbor:",omitempty"`
	Limit            *int64            `cbor:",omitempty"`
	Long             int64             `cbor:",omitempty"`
	When             *cbor.Tag         `cbor:",omitempty"`
	Type             string            `cbor:",omitempty"`
	Tags             map[string]string `cbor:",omitempty"`
	TagKeys          []string          `cbor:",omitempty"`
	Metrics          []string          `cbor:",omitempty"`
	StartingPosition *struct {
		Type      string
		Timestamp *cbor.Tag `cbor:",omitempty"`
	} `cbor:",omitempty"`
}

// TestCBORForeign sends random inputs to an independent CBOR library and back.
func TestCBORForeign(t *testing.T) {
	const rounds, seed = 300, 5
	s := mustCompile(t, putInput{})
	r := rand.New(rand.NewPCG(seed, seed))
	for i := range rounds {
		in := randomPut(r)
		ours := appendCBOR(nil, s, in)
		var f foreignPut
		if err := cbor.Unmarshal(ours, &f); err != nil {
			t.Fatalf("round %d: the library can not read ours: %v\n%.500x", i, err, ours)
		}
		if in.When != nil && (f.When == nil || f.When.Number != 1 || !sameInt(f.When.Content, in.When.UnixMilli())) {
			t.Fatalf("round %d: time %v became %v", i, in.When, f.When)
		}
		theirs, err := cbor.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var back putInput
		if _, err := decodeCBOR(s, theirs, &back, nil); err != nil {
			t.Fatalf("round %d: we can not read the library's: %v\n%.500x", i, err, theirs)
		}
		if !reflect.DeepEqual(in, &back) {
			t.Fatalf("round %d: changed on the way", i)
		}
	}
	t.Logf("%d rounds, seed %d", rounds, seed)
}

func sameInt(v any, want int64) bool {
	switch n := v.(type) {
	case uint64:
		return want >= 0 && n == uint64(want)
	case int64:
		return n == want
	}
	return false
}

// TestHalf compares all half floats with the independent library's.
func TestHalf(t *testing.T) {
	for b := range 1 << 16 {
		var want float64
		if err := cbor.Unmarshal([]byte{0xf9, byte(b >> 8), byte(b)}, &want); err != nil {
			t.Fatal(err)
		}
		if got := half(uint16(b)); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("%04x: %v, want %v", b, got, want)
		}
	}
}
