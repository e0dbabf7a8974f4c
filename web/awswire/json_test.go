package awswire

import (
	"bytes"
	"encoding/base64"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestJSONValues reads members written in every way that JSON allows.
func TestJSONValues(t *testing.T) {
	s := mustCompile(t, putInput{})
	for _, c := range []struct {
		name, body, want string // want is written by appendJSON; empty: malformed
	}{
		{"white space", " {\n\"StreamName\"\t:\r\"a\" } \n", `{"StreamName":"a"}`},
		{"escapes", `{"StreamName":"\"\\\/\b\f\n\r\t\u0041"}`, `{"StreamName":"\"\\/\u0008\u000c\n\r\tA"}`},
		{"escaped name", `{"Stream\u004eame":"a"}`, `{"StreamName":"a"}`},
		{"surrogates", `{"StreamName":"\ud83d\uDE00"}`, `{"StreamName":"😀"}`},
		{"utf-8", `{"StreamName":"日本 ü"}`, `{"StreamName":"日本 ü"}`},
		{"name in another case", `{"streamName":"a"}`, `{"StreamName":""}`},
		{"last wins", `{"StreamName":"a","StreamName":"b"}`, `{"StreamName":"b"}`},
		{"last wins whole", `{"StartingPosition":{"Type":"A","Timestamp":1},"StartingPosition":{"Type":"B"}}`, `{"StreamName":"","StartingPosition":{"Type":"B"}}`},
		{"last wins, null", `{"StreamName":"a","StreamName":null}`, `{"StreamName":""}`},
		{"unknown members", `{"X":{"a":[1,-0.5e+3,{"b":null}],"c":true,"d":false,"e":"\u00e4"},"Y":[],"StreamName":"a"}`, `{"StreamName":"a"}`},
		{"null", `{"StreamName":null,"Limit":null,"Tags":null,"Records":null}`, `{"StreamName":""}`},
		{"exponent", `{"Limit":1.2E+2}`, `{"StreamName":"","Limit":120}`},
		{"fraction is cut off", `{"Limit":34.56}`, `{"StreamName":"","Limit":34}`},
		{"negative", `{"Limit":-17}`, `{"StreamName":"","Limit":-17}`},
		{"clamped", `{"Limit":100000000000}`, `{"StreamName":"","Limit":2147483647}`},
		{"long", `{"Long":100000000000}`, `{"StreamName":"","Long":100000000000}`},
		{"longest", `{"Long":9223372036854775807}`, `{"StreamName":"","Long":9223372036854775807}`},
		{"longer", `{"Long":9223372036854775808}`, `{"StreamName":"","Long":9223372036854775807}`},
		{"huge", `{"Long":-1e999}`, `{"StreamName":"","Long":-9223372036854775808}`},
		{"time", `{"When":1700000000}`, `{"StreamName":"","When":1700000000}`},
		{"time with milliseconds", `{"When":1700000000.1239}`, `{"StreamName":"","When":1700000000.124}`},
		{"time with exponent", `{"When":1.7E9}`, `{"StreamName":"","When":1700000000}`},
		{"time before 1970", `{"When":-1.5}`, `{"StreamName":"","When":-1.5}`},
		{"base64", `{"Records":[{"Data":"AAEC/+8=","PartitionKey":"k"}]}`, `{"Records":[{"Data":"AAEC/+8=","PartitionKey":"k"}],"StreamName":""}`},
		{"base64 with escapes", `{"Records":[{"Data":"AAEC\/+8\u003d","PartitionKey":"k"}]}`, `{"Records":[{"Data":"AAEC/+8=","PartitionKey":"k"}],"StreamName":""}`},
		{"null member", `{"Records":[null]}`, `{"Records":[{"Data":"","PartitionKey":""}],"StreamName":""}`},
		{"map", `{"Tags":{"b":"1","a":"2","c":null}}`, `{"StreamName":"","Tags":{"a":"2","b":"1"}}`},
		{"list", `{"TagKeys":["b","a"]}`, `{"StreamName":"","TagKeys":["b","a"]}`},
		{"true", `{"DryRun":true}`, `{"StreamName":"","DryRun":true}`},

		{"empty", ` `, ""},
		{"no object", `"a"`, ""},
		{"null alone", `null`, ""},
		{"something after it", `{} {}`, ""},
		{"a zero byte after it", "{}\x00", ""},
		{"open object", `{"StreamName":"a"`, ""},
		{"open string", `{"StreamName":"a`, ""},
		{"trailing comma", `{"StreamName":"a",}`, ""},
		{"no colon", `{"StreamName" "a"}`, ""},
		{"name without quotes", `{StreamName:"a"}`, ""},
		{"trailing comma in list", `{"TagKeys":["a",]}`, ""},
		{"control character", "{\"StreamName\":\"a\nb\"}", ""},
		{"unknown escape", `{"StreamName":"\x41"}`, ""},
		{"short escape", `{"StreamName":"\u00"}`, ""},
		{"half a pair", `{"StreamName":"\ud83d"}`, ""},
		{"two first halves", `{"StreamName":"\ud83d\ud83d"}`, ""},
		{"second half first", `{"StreamName":"\ude00\ud83d"}`, ""},
		{"not utf-8", "{\"StreamName\":\"\xff\"}", ""},
		{"not utf-8 after an escape", "{\"StreamName\":\"\\n\xc3\"}", ""},
		{"not utf-8, ignored", "{\"X\":\"\xff\"}", ""},
		{"leading zero", `{"Limit":012}`, ""},
		{"plus", `{"Limit":+1}`, ""},
		{"no digits", `{"Limit":-}`, ""},
		{"no fraction", `{"Limit":1.}`, ""},
		{"no exponent", `{"Limit":1e}`, ""},
		{"not a number", `{"Limit":NaN}`, ""},
		{"short literal", `{"DryRun":tru}`, ""},
		{"comment", `{/**/}`, ""},
		{"deep", `{"X":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, ""},
		{"wrong type, then malformed", `{"StreamName":1,"X":}`, ""},
	} {
		var in putInput
		_, err := decodeJSON(s, []byte(c.body), &in, nil)
		switch got := string(appendJSON(nil, s, &in)); {
		case c.want == "" && err != errSyntax:
			t.Errorf("%s: %v, %s", c.name, err, got)
		case c.want != "" && (err != nil || got != c.want):
			t.Errorf("%s: %v\n got %s\nwant %s", c.name, err, got, c.want)
		}
	}
}

// TestJSONEncode writes what reading can not make.
func TestJSONEncode(t *testing.T) {
	type pointers struct {
		List  []*string `aws:"List"`
		Map   map[string]string
		Inner startPosition `aws:"Inner,omitempty"`
		Blob  []byte        `aws:"Blob"`
		Time  Time          `aws:"Time"`
		No    *startPosition
	}
	_, err := mustNew(t, Service{}).compile(reflect.TypeFor[pointers]())
	if err == nil {
		t.Fatal("fields without tags compile")
	}
	type output struct {
		List  []*string         `aws:"List"`
		Map   map[string]string `aws:"Map"`
		Inner startPosition     `aws:"Inner,omitempty"`
		Blob  []byte            `aws:"Blob"`
		Time  Time              `aws:"Time"`
		No    *startPosition    `aws:"No"`
		Text  string            `aws:"Text"`
	}
	text := "a"
	out := output{List: []*string{&text, nil}, Time: At(time.UnixMilli(1700000000050)), Text: "\xffü\x00"}
	got := string(appendJSON(nil, mustCompile(t, out), &out))
	if want := `{"List":["a",null],"Map":{},"Blob":"","Time":1700000000.05,"Text":"` + "\ufffdü" + `\u0000"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestDecodeKeepsNothing overwrites a body after it was read: nothing of the
// input may change, because the body's memory is used for other requests. Only
// the blobs of CBOR lie in the body, which says so.
func TestDecodeKeepsNothing(t *testing.T) {
	s := mustCompile(t, putInput{})
	in := randomPut(rand.New(rand.NewPCG(3, 3)))
	for name, body := range map[string][]byte{
		"json": appendJSON(nil, s, in),
		"cbor": appendCBOR(nil, s, in),
	} {
		decode := decodeJSON
		if name == "cbor" {
			decode = decodeCBOR
		}
		var got putInput
		taken, err := decode(s, body, &got, nil)
		if err != nil {
			t.Fatal(err)
		}
		if taken.shares != (name == "cbor") {
			t.Errorf("%s: shares the body: %v", name, taken.shares)
		}
		for i := range got.Records {
			if taken.shares {
				got.Records[i].Data = append([]byte{}, got.Records[i].Data...)
			}
		}
		for i := range body {
			body[i] = 'X'
		}
		if !reflect.DeepEqual(&got, in) {
			t.Errorf("%s: the input changed with the body", name)
		}
	}
}

// TestBlobsApart appends to a blob: the next one must not change.
func TestBlobsApart(t *testing.T) {
	s := mustCompile(t, putInput{})
	var in putInput
	if _, err := decodeJSON(s, []byte(`{"Records":[{"Data":"AAAA"},{"Data":"AAAA"}]}`), &in, nil); err != nil {
		t.Fatal(err)
	}
	_ = append(in.Records[0].Data, 1, 2, 3)
	if !bytes.Equal(in.Records[1].Data, make([]byte, 3)) {
		t.Error("an append to a blob ran into the next")
	}
}

func TestBase64(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for n := range 200 {
		src := randomBytes(n)
		text := []byte(base64.StdEncoding.EncodeToString(src))
		got := make([]byte, n)
		if !decodeBase64(got, text) || !bytes.Equal(got, src) {
			t.Fatalf("%d bytes: got %x, want %x", n, got, src)
		}
		if n == 0 {
			continue
		}
		for range 20 { // Every damage that the standard library sees is seen.
			bad := bytes.Clone(text)
			bad[r.IntN(len(bad))] = byte(r.Uint32())
			want, err := base64.StdEncoding.Strict().DecodeString(string(bad))
			same := err == nil && len(want) == n && !bytes.ContainsAny(bad, "\r\n")
			if ok := decodeBase64(got, bad); ok != same || ok && !bytes.Equal(got, want) {
				t.Fatalf("%q: %v %x, the library %v %x", bad, ok, got, err, want)
			}
		}
	}
}

func TestTime(t *testing.T) {
	for _, c := range []struct {
		in   string
		ms   int64
		fine bool
	}{
		{"0", 0, true},
		{"-0.001", -1, true},
		{"0.0005", 1, true},
		{"1e-9", 0, true},
		{"999999999999999", 999999999999999000, false},
		{"9007199254740", 9007199254740000, true},
		{"8215757849636.914", 8215757849636914, true},
		{"-8215757849636.9145", -8215757849636915, true},
		{"1.9996", 2000, true},
		{"0.1e1", 1000, true},
		{"9007199254740.9921", 0, false},
		{"-9007199254741", 0, false},
		{"1e300", 0, false},
		{"1e999", 0, false},
		{"-1e20", 0, false},
	} {
		got, ok := timeOfSeconds([]byte(c.in))
		if ok != c.fine || ok && got.UnixMilli() != c.ms {
			t.Errorf("%s: %v %v", c.in, got, ok)
		}
	}
	for _, ms := range []int64{0, 1, 10, 100, 120, 123, 1000, 1700000000007, -1, -1500, math.MaxInt32} {
		text := appendSeconds(nil, ms)
		if got, ok := timeOfSeconds(text); !ok || got.UnixMilli() != ms {
			t.Errorf("%d ms: %s %v", ms, text, got)
		}
	}
}
