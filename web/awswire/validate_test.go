package awswire

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// answered is the envelope of an error. encoding/json would take Message for
// message, hence the map.
func answered(t *testing.T, body []byte) map[string]string {
	t.Helper()
	m := map[string]string{}
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatalf("%v: %q", err, body)
	}
	return m
}

// TestTypes sends each kind of member a value of each wrong type. The texts are
// those that the suite of kinesalite had from the service.
func TestTypes(t *testing.T) {
	const (
		list   = "Start of list found where not expected"
		object = "Start of structure or map found where not expected."
		number = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to "
		truth  = "class java.lang.Boolean can not be converted to "
		text   = "class java.lang.String can not be converted to "
		blob   = " can not be converted to a Blob: "
	)
	h := mustNew(t, Service{Operations: []Operation{echo()}})
	for _, c := range []struct{ body, want string }{
		{`{"DryRun":"hey"}`, "'HEY' can not be converted to an Boolean"},
		{`{"DryRun":23}`, number + "an Boolean"},
		{`{"DryRun":[]}`, list},
		{`{"DryRun":{}}`, object},
		{`{"StreamName":true}`, truth + "an String"},
		{`{"StreamName":-2147483648}`, number + "an String"},
		{`{"StreamName":34.56}`, number + "an String"},
		{`{"StreamName":[]}`, list},
		{`{"StreamName":{}}`, object},
		{`{"Limit":"23"}`, text + "an Integer"},
		{`{"Limit":true}`, truth + "an Integer"},
		{`{"Limit":[]}`, list},
		{`{"Limit":{}}`, object},
		{`{"Long":"23"}`, text + "an Long"},
		{`{"Long":false}`, truth + "an Long"},
		{`{"Long":[]}`, list},
		{`{"Long":{}}`, object},
		{`{"When":"23"}`, text + "milliseconds since epoch"},
		{`{"When":true}`, truth + "milliseconds since epoch"},
		{`{"When":[]}`, list},
		{`{"When":{}}`, object},
		{`{"When":1e300}`, "'1e300' can not be converted to milliseconds since epoch"},
		{`{"Records":[{"Data":true}]}`, truth + "a Blob"},
		{`{"Records":[{"Data":23}]}`, number + "a Blob"},
		{`{"Records":[{"Data":[]}]}`, list},
		{`{"Records":[{"Data":{}}]}`, object},
		{`{"Records":[{"Data":"23456"}]}`, "'23456'" + blob + "Base64 encoded length is expected a multiple of 4 bytes but found: 5"},
		{`{"Records":[{"Data":"=+/="}]}`, "'=+/='" + blob + "Invalid Base64 character: '='"},
		{`{"Records":[{"Data":"a-_a"}]}`, "'a-_a'" + blob + "Invalid Base64 character: '-'"},
		{`{"Records":[{"Data":"+/+="}]}`, "'+/+='" + blob + "Invalid last non-pad Base64 character dectected"},
		{`{"Records":[{"Data":"AA\nA"}]}`, "'AA\nA'" + blob + "Invalid Base64 character: '\n'"},
		{`{"Records":[{"Data":"a\"=="}]}`, `'a"=='` + blob + `Invalid Base64 character: '"'`},
		{`{"Records":"23"}`, "Expected list or null"},
		{`{"Records":true}`, "Expected list or null"},
		{`{"Records":23}`, "Expected list or null"},
		{`{"Records":{}}`, object},
		{`{"Records":[23]}`, "Expected null"},
		{`{"Tags":"23"}`, "Expected map or null"},
		{`{"Tags":true}`, "Expected map or null"},
		{`{"Tags":23}`, "Expected map or null"},
		{`{"Tags":[]}`, list},
		{`{"Tags":{"a":1}}`, number + "an String"},
		{`{"Tags":{"a":[]}}`, list},
		{`{"TagKeys":[1]}`, number + "an String"},
		{`{"StartingPosition":"23"}`, "Expected null"},
		{`{"StartingPosition":true}`, "Expected null"},
		{`{"StartingPosition":23}`, "Expected null"},
		{`{"StartingPosition":[]}`, list},
		{`[]`, list},
	} {
		w := post(h, putTarget, jsonType, c.body)
		want := map[string]string{"__type": "SerializationException", "Message": c.want}
		if got := answered(t, w.Body.Bytes()); w.Code != http.StatusBadRequest || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d %q, want %q", c.body, w.Code, got, want)
		}
		if got := w.Header().Get("x-amzn-ErrorType"); got != "SerializationException" {
			t.Errorf("%s: error type %q", c.body, got)
		}
	}
}

// TestValidation breaks each rule. The texts are those that the suite of
// kinesalite had from the service.
func TestValidation(t *testing.T) {
	const (
		required = "Member must not be null"
		pattern  = "Member must satisfy regular expression pattern: "
		least    = "Member must have length greater than or equal to "
		most     = "Member must have length less than or equal to "
		name     = pattern + "[a-zA-Z0-9_.-]+"
		hash     = pattern + `0|([1-9]\d{0,38})`
		metrics  = "Member must satisfy constraint: [Member must satisfy enum value set: [X, Y]]"
	)
	fault := func(value, path, constraint string) string {
		if value != "null" {
			value = "'" + value + "'"
		}
		return "Value " + value + " at '" + path + "' failed to satisfy constraint: " + constraint
	}
	long := strings.Repeat("a", 129)
	long2 := strings.Repeat("ü", 257)
	member := "com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry@c965e310"
	fine := `"StreamName":"a","Records":[{"Data":"","PartitionKey":"k"}]`
	many := make([]string, 12)
	for i := range many {
		many[i] = fault("", fmt.Sprintf("records.%d.member.partitionKey", i+1), least+"1")
	}
	keyBounds := "Map keys must satisfy constraint: [" + most + "8, " + least + "1]"
	h := mustNew(t, Service{Operations: []Operation{echo()}})
	for _, c := range []struct {
		what, body string
		want       []string
	}{
		{"nothing", `{}`, []string{fault("null", "records", required), fault("null", "streamName", required)}},
		{"null", `{"Records":null,"StreamName":null}`, []string{fault("null", "records", required), fault("null", "streamName", required)}},
		{"empty", `{"StreamName":"","Records":[]}`, []string{fault("[]", "records", least+"1"), fault("", "streamName", name), fault("", "streamName", least+"1")}},
		{"empty member", `{"StreamName":"","Records":[{"PartitionKey":"","Data":"","ExplicitHashKey":""}]}`, []string{
			fault("", "records.1.member.partitionKey", least+"1"), fault("", "records.1.member.explicitHashKey", hash),
			fault("", "streamName", name), fault("", "streamName", least+"1"),
		}},
		{"member without members", `{"StreamName":"a","Records":[{"PartitionKey":"k","Data":"AA=="},{}]}`, []string{
			fault("null", "records.2.member.data", required), fault("null", "records.2.member.partitionKey", required),
		}},
		{"too long", `{"StreamName":"` + long + `","Records":[{"PartitionKey":"` + long2 + `","Data":"` + strings.Repeat("AAAA", 349526) + `"}]}`, []string{
			fault("java.nio.HeapByteBuffer[pos=0 lim=1048578 cap=1048578]", "records.1.member.data", most+"1048576"),
			fault(long2, "records.1.member.partitionKey", most+"256"), fault(long, "streamName", most+"128"),
		}},
		{
			"too many", `{"StreamName":"","Records":[` + strings.Repeat(`{"Data":"","PartitionKey":""},`, 500) + `{}]}`,
			append([]string{fault("["+strings.Repeat(member+", ", 500)+member+"]", "records", most+"500")}, many[:9]...),
		},
		{
			"ten at most", `{"StreamName":"","Records":[` + strings.Repeat(`{"Data":"","PartitionKey":""},`, 8) + `{"Data":"","PartitionKey":""}]}`,
			append(many[:9:9], fault("", "streamName", name)),
		},
		{"characters, not bytes", `{"StreamName":"a","Records":[{"Data":"","PartitionKey":"` + long2[2:] + `"}]}`, nil},
		{"range, low", `{` + fine + `,"Limit":0}`, []string{fault("0", "limit", "Member must have value greater than or equal to 1")}},
		{"range, high", `{` + fine + `,"Limit":100000000000}`, []string{fault("2147483647", "limit", "Member must have value less than or equal to 10000")}},
		{"enum", `{` + fine + `,"Type":""}`, []string{fault("", "type", "Member must satisfy enum value set: [A, B]")}},
		{"in a struct", `{` + fine + `,"StartingPosition":{}}`, []string{fault("null", "startingPosition.type", required)}},
		{"enum in a struct", `{` + fine + `,"StartingPosition":{"Type":"C"}}`, []string{fault("C", "startingPosition.type", "Member must satisfy enum value set: [A, B]")}},
		{"last wins", `{` + fine + `,"StartingPosition":{"Type":""},"StartingPosition":{"Timestamp":1}}`, []string{fault("null", "startingPosition.type", required)}},
		{"empty map", `{` + fine + `,"Tags":{}}`, []string{fault("{}", "tags", least+"1")}},
		{"map too large", `{` + fine + `,"Tags":{"a":"1","b":"2","c":"3","d":"4"}}`, []string{fault("{a=1, b=2, c=3, d=4}", "tags", most+"3")}},
		{"map key", `{` + fine + `,"Tags":{"123456789":"1","b":"2"}}`, []string{fault("{123456789=1, b=2}", "tags", keyBounds)}},
		{"empty map key", `{` + fine + `,"Tags":{"":"1"}}`, []string{fault("{=1}", "tags", keyBounds)}},
		{"map value", `{` + fine + `,"Tags":{"a":"123456789"}}`, []string{fault("{a=123456789}", "tags", "Map value must satisfy constraint: ["+most+"8, "+least+"0]")}},
		{"list member", `{` + fine + `,"TagKeys":["a","123456789","b"]}`, []string{fault("[a, 123456789, b]", "tagKeys", "Member must satisfy constraint: ["+most+"8, "+least+"1]")}},
		{"list too long", `{` + fine + `,"TagKeys":["1","2","3","4"]}`, []string{fault("[1, 2, 3, 4]", "tagKeys", most+"3")}},
		{"enum in a list", `{` + fine + `,"Metrics":["X","Z"]}`, []string{fault("[X, Z]", "metrics", metrics)}},
		{"optional and absent", `{` + fine + `}`, nil},
		{"pattern kept", `{"StreamName":"a","Records":[{"Data":"","PartitionKey":"k","ExplicitHashKey":"340282366920938463463374607431768211455"}]}`, nil},
		{"pattern of a whole value", `{"StreamName":"a b","Records":[{"Data":"","PartitionKey":"k","ExplicitHashKey":"01"}]}`, []string{
			fault("01", "records.1.member.explicitHashKey", hash), fault("a b", "streamName", name),
		}},
	} {
		w := post(h, putTarget, jsonType, c.body)
		if c.want == nil {
			if w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", c.what, w.Code, w.Body)
			}
			continue
		}
		text := fmt.Sprintf("%d validation errors detected: ", len(c.want))
		if len(c.want) == 1 {
			text = "1 validation error detected: "
		}
		want := map[string]string{"__type": "ValidationException", "message": text + strings.Join(c.want, "; ")}
		if got := answered(t, w.Body.Bytes()); w.Code != http.StatusBadRequest || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d\n got %.1000q\nwant %.1000q", c.what, w.Code, got, want)
		}
	}
}

// TestManyMembers sends more members than a list keeps: they are counted and not
// kept, and the answer is bounded.
func TestManyMembers(t *testing.T) {
	s := mustCompile(t, putInput{})
	body := []byte(`{"StreamName":"a","Records":[{"Data":"","PartitionKey":"k"}` + strings.Repeat(`,{}`, 1_000_000) + `]}`)
	var in putInput
	taken, err := decodeJSON(s, body, &in, nil)
	if err != nil || len(in.Records) != 501 || cap(in.Records) > 1100 {
		t.Fatalf("%v, %d members, room for %d", err, len(in.Records), cap(in.Records))
	}
	if e := validate(s, &in, taken); e == nil || len(e.Message) > 2*maxQuoted {
		t.Errorf("%.200v", e)
	}
}

func TestTags(t *testing.T) {
	h := mustNew(t, Service{})
	type inner struct {
		A string `aws:"A"`
	}
	for name, v := range map[string]any{
		"no struct": "",
		"no tag":    struct{ A string }{},
		"no name": struct {
			A string `aws:",required"`
		}{},
		"quote in a name": struct {
			A string `aws:"a\"b"`
		}{},
		"unknown word": struct {
			A string `aws:"A,needed"`
		}{},
		"unknown pattern": struct {
			A string `aws:"A,pattern=nope"`
		}{},
		"pattern of int": struct {
			A int64 `aws:"A,pattern=name"`
		}{},
		"min without n": struct {
			A string `aws:"A,min="`
		}{},
		"min of a bool": struct {
			A bool `aws:"A,min=1"`
		}{},
		"empty enum": struct {
			A string `aws:"A,enum="`
		}{},
		"long string": struct {
			A string `aws:"A,long"`
		}{},
		"shown string": struct {
			A string `aws:"A,shown=x"`
		}{},
		"each of a string": struct {
			A string `aws:"A,each.min=1"`
		}{},
		"each of structs": struct {
			A []inner `aws:"A,each.min=1"`
		}{},
		"key of a list": struct {
			A []string `aws:"A,key.min=1"`
		}{},
		"too many members": struct {
			A []string `aws:"A,max=10001"`
		}{},
		"twice": struct {
			A, B string `aws:"A"`
		}{},
		"float": struct {
			A float64 `aws:"A"`
		}{},
		"map of ints": struct {
			A map[string]int `aws:"A"`
		}{},
		"pointer to slice": struct {
			A *[]string `aws:"A"`
		}{},
		"unexported": struct {
			a string `aws:"A"`
		}{},
		"deep inside": struct {
			A []struct {
				B chan int `aws:"B"`
			} `aws:"A"`
		}{},
	} {
		if _, err := h.compile(reflect.TypeOf(v)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	type tree struct {
		Name string  `aws:"Name"`
		Sub  []tree  `aws:"Sub"`
		Up   *tree   `aws:"Up"`
		More []*tree `aws:"More"`
	}
	if _, err := h.compile(reflect.TypeFor[tree]()); err != nil {
		t.Errorf("a type that holds itself: %v", err)
	}
	if _, err := New(Service{Target: "T", Operations: []Operation{echo(), echo()}, Patterns: h.service.Patterns}); err == nil {
		t.Error("an operation given twice: no error")
	}
	if _, err := New(Service{Target: "T", Patterns: map[string]string{"a": "("}}); err == nil {
		t.Error("a bad pattern: no error")
	}
	if _, err := New(Service{Target: "T", Operations: []Operation{{}}}); err == nil {
		t.Error("an empty operation: no error")
	}
}
