package awswire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// planned is a shape whose structs are all reached by reflection.
func planned(s *shape, known map[*shape]*shape) *shape {
	if s == nil || known[s] != nil {
		return known[s]
	}
	c := *s
	c.direct = false
	known[s] = &c
	c.fields = append([]field(nil), s.fields...)
	for i := range c.fields {
		c.fields[i].shape = planned(c.fields[i].shape, known)
	}
	c.elem = planned(s.elem, known)
	return &c
}

// sameBothWays decodes, validates and answers with the places that structs hand
// out and with those of reflection. It returns what became of the body.
func sameBothWays(t testing.TB, direct, plan *shape, body []byte, decode decoder) string {
	t.Helper()
	var a, b putInput
	takenA, errA := decode(direct, body, &a, &memory{})
	takenB, errB := decode(plan, body, &b, nil)
	if (errA == errSyntax) != (errB == errSyntax) || fmt.Sprint(errA) != fmt.Sprint(errB) {
		t.Fatalf("%.500q: direct %v, by plan %v", body, errA, errB)
	}
	if !reflect.DeepEqual(a, b) || !reflect.DeepEqual(takenA.zeros, takenB.zeros) || takenA.shares != takenB.shares {
		t.Fatalf("%.500q:\ndirect  %+v %v\nby plan %+v %v", body, a, takenA.zeros, b, takenB.zeros)
	}
	if errA != nil {
		return errA.Error()
	}
	refusalA, refusalB := validate(direct, &a, takenA), validate(plan, &b, takenB)
	if !reflect.DeepEqual(refusalA, refusalB) {
		t.Fatalf("%.500q:\ndirect  %v\nby plan %v", body, refusalA, refusalB)
	}
	if !bytes.Equal(appendJSON(nil, direct, &a), appendJSON(nil, plan, &b)) || !bytes.Equal(appendCBOR(nil, direct, &a), appendCBOR(nil, plan, &b)) {
		t.Fatalf("%.500q: the answers differ", body)
	}
	if refusalA != nil {
		return refusalA.Message
	}
	return "taken"
}

// TestDirectAsPlanned has a row for each kind of thing that can be wrong with a
// member, and what then becomes of the request.
func TestDirectAsPlanned(t *testing.T) {
	direct := mustCompile(t, putInput{})
	plan := planned(direct, map[*shape]*shape{})
	if !direct.direct || !direct.fields[0].shape.elem.direct || plan.direct || plan.fields[0].shape.elem.direct {
		t.Fatal("the two ways are one")
	}
	const good = `"StreamName":"a","Records":[{"Data":"AAAA","PartitionKey":"k"}]`
	for _, c := range []struct{ body, want string }{
		{`{` + good + `}`, "taken"},
		{`{` + good + `,"Other":[{"StreamName":1}]}`, "taken"},                          // a member that there is not
		{`{` + good + `,"StreamName":"b"}`, "taken"},                                    // twice
		{`{` + good + `,"StreamName":null}`, "'streamName' failed"},                     // the last counts
		{`{` + good + `,"StreamName":""}`, "Value '' at 'streamName'"},                  // zero and present
		{`{` + good + `,"StreamName":"","StreamName":null}`, "Value null at"},           // zero, then absent
		{`{` + good + `,"Records":null}`, "Value null at 'records'"},                    //
		{`{` + good + `,"Records":[]}`, "Value '[]' at 'records'"},                      //
		{`{"StreamName":"a","Records":[null]}`, "2 validation errors"},                  // nothing in it
		{`{"StreamName":"a","Records":[{}]}`, "records.1.member.partitionKey"},          //
		{`{` + good + `,"Records":{}}`, "Start of structure or map found"},              //
		{`{` + good + `,"Records":"x"}`, "Expected list or null"},                       //
		{`{` + good + `,"Records":["x"]}`, "Expected null"},                             //
		{`{` + good + `,"StreamName":7}`, "TruncatingBigNumber can not be converted"},   //
		{`{` + good + `,"Limit":"7"}`, "String can not be converted to an Integer"},     //
		{`{` + good + `,"Limit":0}`, "at 'limit' failed"},                               //
		{`{` + good + `,"Limit":99999999999}`, "Value '2147483647' at 'limit'"},         // clamped
		{`{` + good + `,"Long":99999999999}`, "taken"},                                  //
		{`{` + good + `,"DryRun":false}`, "taken"},                                      //
		{`{` + good + `,"DryRun":"yes"}`, "'YES' can not be converted to an Boolean"},   //
		{`{"StreamName":"a","Records":[{"Data":"A","PartitionKey":"k"}]}`, "multiple"},  // no base64
		{`{"StreamName":"a","Records":[{"Data":"AA\/A","PartitionKey":"k"}]}`, "taken"}, // an escape in it
		{`{"StreamName":"a","Records":[{"Data":"","PartitionKey":""}]}`, "greater than or equal to 1"},
		{`{"StreamName":"a","Records":[{"Data":7,"PartitionKey":"k"}]}`, "a Blob"},
		{`{"StreamName":"a","Records":[{"PartitionKey":"k","Data":"AAAA","ExplicitHashKey":"x"}]}`, "regular expression"},
		{`{` + good + `,"StartingPosition":{"Type":"C"}}`, "'startingPosition.type'"},
		{`{` + good, "malformed"},
		{`{` + good + `,}`, "malformed"},
		{`{"Records":[{"Data":7}],"x"}`, "malformed"}, // before what is of a wrong type
		{`[]`, "Start of list"},
	} {
		if got := sameBothWays(t, direct, plan, []byte(c.body), decodeJSON); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", c.body, got, c.want)
		}
	}
}

// TestDirectAsPlannedAtRandom spoils good requests in both encodings.
func TestDirectAsPlannedAtRandom(t *testing.T) {
	const rounds, seed = 1500, 5
	direct := mustCompile(t, putInput{})
	plan := planned(direct, map[*shape]*shape{})
	r := rand.New(rand.NewPCG(seed, seed))
	tokens := []string{`null`, `""`, `"x"`, `0`, `-1.5e3`, `true`, `[]`, `{}`, `{"Data":"AAAA"}`, `,`, `"StreamName":"a",`, `"Records":null,`, `"PartitionKey":"",`}
	seen := map[string]int{}
	for range rounds {
		in := randomPut(r)
		in.Records = in.Records[:min(len(in.Records), 5)]
		json, cbor := appendJSON(nil, direct, in), appendCBOR(nil, direct, in)
		for range r.IntN(4) {
			at, token := r.IntN(len(json)), tokens[r.IntN(len(tokens))]
			until := min(len(json), at+r.IntN(3)*r.IntN(12))
			if r.IntN(3) > 0 { // where a value or a member begins
				if i := bytes.IndexAny(json[at:], ":{["); i >= 0 {
					at += i + 1
					until = at
					if i := bytes.IndexAny(json[at:], ",}]"); i >= 0 && token[len(token)-1] != ',' {
						until += i
					}
				}
			}
			json = []byte(string(json[:at]) + token + string(json[until:]))
			cbor[r.IntN(len(cbor))] = byte(r.Uint32())
		}
		for _, what := range []string{
			sameBothWays(t, direct, plan, json, decodeJSON),
			sameBothWays(t, direct, plan, cbor, decodeCBOR),
		} {
			if len(what) > 7 && what[1] == ' ' || strings.HasPrefix(what, "10 v") {
				what = "invalid"
			}
			seen[strings.Split(what, "'")[0]]++
		}
	}
	if len(seen) < 8 || seen["invalid"] < rounds/10 || seen["malformed body"] < rounds/10 {
		t.Errorf("only these came of it: %v", seen)
	}
	t.Logf("%d rounds, seed %d: %v", rounds, seed, seen)
}

// TestDirectIsChecked has a row for each mistake in a Member method.
func TestDirectIsChecked(t *testing.T) {
	for name, err := range map[string]error{
		"swapped": checkOf[swapped](t), "wrong type": checkOf[mistyped](t), "another list": checkOf[relisted](t),
		"nothing": checkOf[placeless](t), "a value": checkOf[valued](t),
	} {
		if err == nil || !strings.Contains(err.Error(), "is not the place of") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := checkOf[entry](t); err != nil {
		t.Error(err)
	}
}

func checkOf[T any](t *testing.T) error {
	_, err := mustNew(t, Service{}).compile(reflect.TypeFor[T]())
	return err
}

type swapped struct {
	A string `aws:"A"`
	B string `aws:"B"`
}

func (s *swapped) Member(i int) any { return [...]any{&s.B, &s.A}[i] }

type mistyped struct {
	A putInput `aws:"A"`
}

func (m *mistyped) Member(int) any { return ListAt(&m.A.Records) }

type relisted struct {
	A []entry `aws:"A"`
}

func (r *relisted) Member(int) any { return ListAt(new([]putInput)) }

type placeless struct {
	A string `aws:"A"`
}

func (p *placeless) Member(int) any { return nil }

type valued struct {
	A int `aws:"A"`
}

func (v *valued) Member(int) any { return v.A }
