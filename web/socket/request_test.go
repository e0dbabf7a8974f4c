package socket

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/web"
)

func TestRefusals(t *testing.T) {
	e := newFake(1)
	seq := e.mustPut("k", "1").Sequence.String()
	s := newServer(t, e)
	for _, c := range []struct {
		query, proof string
		status       int
		code, says   string
	}{
		{"from=yesterday", everything, 400, "bad_from", "use latest"},
		{"from=2026-11-23", everything, 400, "bad_from", "use latest"},
		{"from=-5", everything, 400, "bad_from", ""},
		{"from=after:5", everything, 400, "bad_from", ""},
		{"from=99999999999999999999999", everything, 400, "bad_from", ""},
		{"from=" + seq + "&shard=3", everything, 400, "bad_from", "shardId-000000000000"},
		{query("from", time.Now().Add(time.Hour).Format(time.RFC3339)), everything, 400, "invalid", "the time is in the future"},
		{"shard=9", everything, 404, "no_such_shard", "shardId-000000000009"},
		{"shard=x", everything, 400, "bad_shard", "shardId-000000000003"},
		{"shard=4294967295", everything, 400, "bad_shard", ""},
		{"format=xml", everything, 400, "bad_format", "json or raw"},
		{"credit=-1", everything, 400, "bad_credit", ""},
		{"credit=x", everything, 400, "bad_credit", ""},
		{"frm=latest", everything, 400, "bad_parameter", "known are"},
		{"from=latest&from=latest", everything, 400, "bad_parameter", "twice"},
		{"resume=AAAA", everything, 400, "bad_resume", ""},
		{"resume=AAAA&from=latest", everything, 400, "bad_parameter", "leave out"},
		{"", "Bearer publish", 403, "forbidden", "view stream yard"},
		{"from=none", "Bearer view", 403, "forbidden", "publish stream yard"},
		{"", "", 403, "forbidden", ""},
	} {
		t.Run(c.query, func(t *testing.T) {
			ws, answer, err := s.dial(c.query, http.Header{"Authorization": {c.proof}})
			if err == nil {
				ws.Close()
				t.Fatal("accepted")
			}
			var body struct{ Error toldError }
			if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != c.status || body.Error.Code != c.code || !strings.Contains(body.Error.Message+body.Error.Hint, c.says) {
				t.Errorf("%d %+v, want %d %s %q", answer.StatusCode, body.Error, c.status, c.code, c.says)
			}
		})
	}
	for path, want := range map[string]int{"/ws/streams/yard": 400, "/ws/streams/other": 404, "/ws/streams/a%20b": 400, "/ws/streams/" + strings.Repeat("x", 129): 400} {
		r, _ := http.NewRequest("GET", s.http.URL+path, nil)
		r.Header.Set("Authorization", everything)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var body struct{ Error toldError }
		if err := json.NewDecoder(answer.Body).Decode(&body); err != nil || answer.StatusCode != want || body.Error.Code == "" {
			t.Errorf("%.40s: %d %+v %v", path, answer.StatusCode, body, err)
		}
		answer.Body.Close()
	}
}

func TestTooMany(t *testing.T) {
	e := newFake(1)
	s := newServer(t, e, func(o *Options) { o.MaxConns = 2 })
	a := s.open(t, "")
	s.open(t, "")
	if _, answer, err := s.dial("", nil); err == nil || answer.StatusCode != 503 {
		t.Errorf("a third: %v", err)
	}
	a.ws.Close()
	for range 100 {
		if ws, _, err := s.dial("", nil); err == nil {
			ws.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("no room after one has left")
}

func TestTooManyShards(t *testing.T) {
	e := newFake(maxShards + 1)
	s := newServer(t, e)
	for _, q := range []string{"", "from=trim_horizon"} {
		if _, answer, err := s.dial(q, nil); err == nil || answer.StatusCode != 400 {
			t.Errorf("%q: %v", q, err)
		}
	}
	c := s.open(t, "shard=1024")
	c.must()

	e = newFake(maxShards)
	s = newServer(t, e)
	c = s.open(t, "")
	c.must()
	e.split(0)
	if told, code := c.end(); told != "too_many_shards" || code != 4400 {
		t.Errorf("ended with %q %d", told, code)
	}
}

// TestFence: what the pages of browsers may do.
func TestFence(t *testing.T) {
	const evil, loop, named = "https://evil.example", "http://localhost:3000", "https://shop.example"
	for _, c := range []struct {
		name           string
		open           bool
		origin         string // "own" is the server's
		query          string
		header         http.Header
		wantRead, want bool // read; and put
	}{
		{"program", false, "", "", http.Header{"Authorization": {everything}}, true, true},
		{"own page with a cookie", false, "own", "", http.Header{"Cookie": {"session=view-publish"}}, true, true},
		{"own page with Basic", false, "own", "", http.Header{"Authorization": {"Basic view publish"}}, true, true},
		{"other page with a cookie", false, evil, "", http.Header{"Cookie": {"session=view-publish"}}, false, false},
		{"other page with Basic", false, evil, "", http.Header{"Authorization": {"Basic view publish"}}, false, false},
		{"other page with a token", false, evil, "token=view-publish", nil, true, true},
		{"other page with a token to read", false, evil, "token=view", http.Header{"Cookie": {"session=publish"}}, true, false},
		{"other page with a bad token and a cookie", false, evil, "token=x", http.Header{"Cookie": {"session=view-publish"}}, false, false},
		{"other page of this machine with a cookie", false, loop, "", http.Header{"Cookie": {"session=view-publish"}}, false, false},
		{"named page with a cookie", false, named, "", http.Header{"Cookie": {"session=view-publish"}}, true, true},
		{"no origin", false, "null", "", http.Header{"Cookie": {"session=view-publish"}}, false, false},

		{"open, program", true, "", "token=view-publish", nil, true, true},
		{"open, own page", true, "own", "token=view-publish", nil, true, true},
		{"open, other page", true, evil, "token=view-publish", nil, false, false},
		{"open, page of this machine", true, loop, "token=view-publish", nil, true, false},
		{"open, named page", true, named, "token=view-publish", nil, true, true},
		{"open, no origin", true, "null", "token=view-publish", nil, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newFake(1)
			s := newServer(t, e, func(o *Options) { o.Open, o.Origins = c.open, []string{named} })
			h := http.Header{}
			for k, v := range c.header {
				h[k] = v
			}
			switch c.origin {
			case "":
			case "own":
				h.Set("Origin", s.http.URL)
			default:
				h.Set("Origin", c.origin)
			}
			ws, _, err := s.dial(c.query, h)
			if (err == nil) != c.wantRead {
				t.Fatalf("reading: %v", err)
			}
			if err != nil {
				return
			}
			defer ws.Close()
			cl := &client{t: t, ws: ws}
			cl.must()
			cl.say(`{"put":[{"key":"a","text":"1"}]}`)
			for {
				if m := cl.must(); m.Ack != nil {
					if put := m.Ack.Error == nil; put != c.want {
						t.Errorf("putting: %v", put)
					}
					return
				}
			}
		})
	}
	if _, err := New(Options{Engine: newFake(1), Access: &rights{}, Origins: []string{"nonsense"}}); err == nil {
		t.Error("an origin that is none is taken")
	}
}

// TestBehindTheFrontDoor goes through a web.Server, which wraps what handlers
// get.
func TestBehindTheFrontDoor(t *testing.T) {
	e := newFake(1)
	s := newServer(t, e)
	front, err := web.New(web.Options{Addrs: []string{"127.0.0.1:0"}, Routes: s.Routes(), Open: true, Log: s.o.Log})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close(t.Context())
	s.http.URL = "http://" + front.Addrs()[0].String()
	c := s.open(t, "")
	c.must()
	e.mustPut("k", "1")
	c.records(1)
	_ = c.ws.Close()
}

func TestToken(t *testing.T) {
	for _, want := range []token{
		{stream: 1<<64 - 1, seen: 1<<32 - 1, at: []mark{{0, journal.Position{}}, {1, journal.Position{Frame: 1 << 40, Index: 65535}}, {datastream.NoShard - 1, journal.Position{Frame: 3}}}},
		{stream: 1, single: true, at: []mark{{5, journal.Position{Frame: 1}}}},
		{},
	} {
		text := string(want.append(nil))
		got, err := parseToken(text)
		if err != nil || string(got.append(nil)) != text || len(got.at) != len(want.at) || got.stream != want.stream || got.seen != want.seen || got.single != want.single {
			t.Errorf("%+v became %+v, %v", want, got, err)
		}
		for i := range want.at {
			if got.at[i] != want.at[i] {
				t.Errorf("%+v became %+v", want.at[i], got.at[i])
			}
		}
		for i := range text { // no letter is there for nothing
			for _, c := range "AZaz09-_" {
				if b := []byte(text); rune(b[i]) != c {
					b[i] = byte(c)
					if other, err := parseToken(string(b)); err == nil {
						t.Fatalf("%s is %+v", b, other)
					}
				}
			}
		}
	}
}

func FuzzToken(f *testing.F) {
	f.Add(string((&token{stream: 7, seen: 3, at: []mark{{1, journal.Position{Frame: 9}}, {2, journal.Position{}}}}).append(nil)))
	f.Add("AQ")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseToken(s)
		if err != nil {
			return
		}
		if len(got.at) > maxShards {
			t.Fatalf("%d marks", len(got.at))
		}
		again, err := parseToken(string(got.append(nil)))
		if err != nil || len(again.at) != len(got.at) {
			t.Fatalf("%+v became %+v, %v", got, again, err)
		}
	})
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"put":[{"key":"a","text":"t","hash":"1"},{"key":"b","data":"AA=="},{"key":"c","json":{"a":1}}],"id":7}`))
	f.Add([]byte(`{"credit":5}`))
	f.Add([]byte(`{"put":null,"credit":null}`))
	f.Add([]byte(`{"put":[null],"id":{"a":[1,2]}}`))
	c := &conn{}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Fatalf("a message of %d bytes", len(err.Error()))
			}
			return
		}
		if m.Credit != nil {
			return
		}
		puts, err := c.puts(m.Put)
		if err == nil && (len(puts) == 0 || len(puts) > maxPuts) {
			t.Fatalf("%d puts", len(puts))
		}
		encode(ack{ID: m.ID})
	})
}

func FuzzAsk(f *testing.F) {
	for _, q := range []string{"from=latest", "from=after:49590338271490256608559692538361571095921575989136588898", "shard=3&from=12&format=raw&credit=1", "resume=AQ"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r, err := http.NewRequest("GET", "/?"+strings.ReplaceAll(raw, "#", ""), nil)
		if err != nil {
			return
		}
		if a, err := parseAsk(r.URL.Query()); err == nil && a.from == fromSequence && a.shard == datastream.NoShard {
			t.Fatalf("%+v", a)
		}
	})
}

// FuzzData sees that every message with a record is JSON and gives the data back.
func FuzzData(f *testing.F) {
	f.Add("key", []byte(`{"a":1}`))
	f.Add("k\"\n\xff", []byte("\x00"))
	f.Add("", []byte("[] []"))
	f.Add("", []byte("\u2028<>&"))
	f.Fuzz(func(t *testing.T, key string, data []byte) {
		b := datastream.Batch{Records: []datastream.Record{{PartitionKey: key, Data: data}}}
		var m got
		text := appendRecords(nil, 1, &b, false, &place{})
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		r := m.Records[0]
		switch {
		case r.JSON != nil:
			if string(r.JSON) != strings.TrimSpace(string(data)) {
				t.Fatalf("%q became %q", data, r.JSON)
			}
		case r.Text != nil:
			if *r.Text != string(data) {
				t.Fatalf("%q became %q", data, *r.Text)
			}
		case string(r.Data) != string(data):
			t.Fatalf("%q became %q", data, r.Data)
		}
	})
}

func BenchmarkRecords(b *testing.B) {
	var batch datastream.Batch
	for range 500 {
		batch.Records = append(batch.Records, datastream.Record{PartitionKey: "front-door", Data: []byte(`{"label":"cat","score":0.9,"at":"` + strings.Repeat("x", 400) + `"}`), Arrived: time.Now()})
	}
	p := &place{list: []*station{{}, {shard: 1}}}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendRecords(buf[:0], 0, &batch, false, p)
	}
	b.SetBytes(int64(len(buf)))
}
