package socket

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream"
)

func show(r gotRecord) string {
	switch {
	case r.JSON != nil:
		return "json:" + string(r.JSON)
	case r.Text != nil:
		return "text:" + *r.Text
	}
	return "data:" + base64.StdEncoding.EncodeToString(r.Data)
}

func TestForms(t *testing.T) {
	e := newFake(1)
	cases := []struct{ data, want string }{
		{`{"a":1}`, `json:{"a":1}`},
		{" [1, 2]\n", `json:[1, 2]`},
		{`{"a":1`, `text:{"a":1`},
		{`12`, `text:12`},
		{``, `text:`},
		{"line\tone\r\n\"two\" <\u00e9>", "text:line\tone\r\n\"two\" <\u00e9>"},
		{"\x00\x01", "data:AAE="},
		{"\xff{}", "data:/3t9"},
		{"{\"a\":\"\xff\"}", "data:eyJhIjoi/yJ9"},
		{"a\x7f", "data:YX8="},
		{`{"a":"` + "\u2028" + `"}`, `json:{"a":"` + "\u2028" + `"}`},
	}
	for _, c := range cases {
		e.mustPut("k\"\u00e9y", c.data)
	}
	s := newServer(t, e)
	list, last := s.open(t, "from=trim_horizon").records(len(cases))
	for i, c := range cases {
		if got := show(list[i]); got != c.want {
			t.Errorf("%q came as %s, want %s", c.data, got, c.want)
		}
	}
	r, kept := list[0], e.shards[0].records[0]
	if r.Key != "k\"\u00e9y" || r.Shard != "shardId-000000000000" || r.Sequence != kept.Sequence.String() || r.Arrived != kept.Arrived.Format("2006-01-02T15:04:05.000Z") {
		t.Errorf("got %+v", r)
	}
	if last.Behind != 0 || last.Resume == "" {
		t.Errorf("got %+v", last)
	}

	raw := s.open(t, "from=trim_horizon&format=raw")
	raw.must() // hello
	list, _ = raw.records(len(cases))
	if len(raw.binary) != len(cases) {
		t.Fatalf("%d binary messages", len(raw.binary))
	}
	for i, c := range cases {
		if string(raw.binary[i]) != c.data || show(list[i]) != "data:" || list[i].Sequence == "" {
			t.Errorf("%q came as %q with %+v", c.data, raw.binary[i], list[i])
		}
	}
}

func TestFrom(t *testing.T) {
	e := newFake(2)
	var seqs []string
	for i := range 4 { // keys a and b lie in different shards
		seqs = append(seqs, e.mustPut("a", "a"+strconv.Itoa(i)).Sequence.String())
	}
	e.mustPut("b", "b0")
	a, b := strconv.Itoa(int(e.shards[0].Index)), "1"
	if len(e.shards[0].records) == 1 {
		a, b = b, a
	} else if len(e.shards[0].records) != 4 {
		t.Fatal("the keys are in one shard")
	}
	e.do(func() { // a0 and a1 are an hour old
		sh := e.shards[0]
		if a == "1" {
			sh = e.shards[1]
		}
		for i := range 2 {
			sh.records[i].Arrived = sh.records[i].Arrived.Add(-time.Hour)
		}
	})
	before := time.Now().Add(-time.Minute)
	s := newServer(t, e)
	for _, c := range []struct{ query, want string }{
		{"from=TRIM_HORIZON", "a0 a1 a2 a3 | b0 | new"},
		{"from=trim_horizon&shard=" + a, "a0 a1 a2 a3 | new"},
		{"from=trim_horizon&shard=shardId-00000000000" + b, "b0"},
		{"", "new"},
		{"from=latest", "new"},
		{"from=LATEST&shard=" + a, "new"},
		{"from=" + seqs[2], "a2 a3 | new"},
		{"from=after:" + seqs[2], "a3 | new"},
		{"from=" + seqs[1] + "&shard=" + a, "a1 a2 a3 | new"},
		{query("from", before.Format(time.RFC3339Nano)), "a2 a3 | b0 | new"},
		{"from=" + strconv.FormatInt(before.UnixMilli(), 10), "a2 a3 | b0 | new"},
		{query("from", "0"), "a0 a1 a2 a3 | b0 | new"},
	} {
		t.Run(c.query, func(t *testing.T) {
			cl := s.open(t, c.query)
			if hello := cl.must(); hello.Hello == nil || hello.Hello.Stream != "yard" || hello.Resume == "" || len(hello.Hello.Shards) == 0 {
				t.Fatalf("hello is %+v", hello)
			}
			want := strings.Split(c.want, " | ")
			if c.want == "new" {
				want = []string{"", "new"}
			}
			collect := func(groups []string) {
				t.Helper()
				list, _ := cl.records(len(strings.Fields(strings.Join(groups, " "))))
				slices.SortStableFunc(list, func(x, y gotRecord) int { return strings.Compare(*x.Text, *y.Text) })
				var got []string
				for _, r := range list {
					got = append(got, *r.Text)
				}
				if text := strings.Join(got, " "); text != strings.Join(groups, " ") {
					t.Fatalf("got %q, want %q", text, groups)
				}
			}
			if want[len(want)-1] != "new" {
				collect(want)
				return
			}
			collect(want[:len(want)-1])
			e.mustPut("a", "new")
			collect([]string{"new"})
			e.do(func() { // not for the next case
				for _, sh := range e.shards {
					if n := len(sh.records); string(sh.records[n-1].Data) == "new" {
						sh.records = sh.records[:n-1]
					}
				}
			})
		})
	}
}

// TestOneShardEnds follows one shard to its end.
func TestOneShardEnds(t *testing.T) {
	e := newFake(1)
	e.mustPut("k", "1")
	s := newServer(t, e)
	c := s.open(t, "from=trim_horizon&shard=0")
	_, last := c.records(1)
	e.split(0)
	m := c.must()
	if m.Closed == nil || m.Closed.Shard != shardName(0) || fmt.Sprint(m.Closed.Children) != "[shardId-000000000001 shardId-000000000002]" {
		t.Fatalf("got %+v", m)
	}
	if told, code := c.end(); told != "" || code != 1000 {
		t.Errorf("ended with %q %d", told, code)
	}
	e.mustPut("k", "2")
	for _, token := range []string{last.Resume, m.Resume} {
		again := s.open(t, "resume="+token)
		if told, code := again.end(); told != "" || code != 1000 {
			t.Errorf("resumed and ended with %q %d", told, code)
		}
	}
}

// TestParentsFirst reads a stream that was split and merged, from its beginning.
func TestParentsFirst(t *testing.T) {
	e := newFake(1)
	n := 0
	put := func() {
		for range 5 {
			e.mustPut("k"+strconv.Itoa(n%3), strconv.Itoa(n))
			n++
		}
	}
	put()
	e.split(0)
	put()
	e.split(1)
	put()
	e.merge(4, 2)
	put()
	s := newServer(t, e, func(o *Options) { o.Window = 10 })
	list, _ := s.open(t, "from=trim_horizon").records(n)
	checkOrder(t, list, n)
}

// checkOrder sees that every number came once, and each key in order.
func checkOrder(t *testing.T, list []gotRecord, n int) {
	t.Helper()
	last, seen := map[string]int{}, map[int]bool{}
	for _, r := range list {
		i, err := strconv.Atoi(*r.Text)
		if err != nil || seen[i] {
			t.Fatalf("%s came twice", *r.Text)
		}
		if before, ok := last[r.Key]; ok && i < before {
			t.Fatalf("%d came after %d of key %s", i, before, r.Key)
		}
		last[r.Key], seen[i] = i, true
	}
	if len(seen) != n {
		t.Fatalf("%d of %d records came", len(seen), n)
	}
}

// TestResume cuts readers off at any moment, while the stream is cut anew, and
// has them go on where they were: each record comes once, each key in order.
func TestResume(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 1))
	const rounds = 60
	cuts, splits, shards := 0, 0, 0
	for round := range rounds {
		e := newFake(1 + rnd.IntN(3))
		s := newServer(t, e, func(o *Options) { o.Window = 1 + rnd.IntN(2000) })
		n := 0
		act := func() {
			for range rnd.IntN(30) {
				e.mustPut("k"+strconv.Itoa(rnd.IntN(9)), strconv.Itoa(n))
				n++
			}
			i, j := uint32(rnd.IntN(len(e.shards))), uint32(rnd.IntN(len(e.shards)))
			if rnd.IntN(2) == 0 && e.split(i) || e.merge(i, j) || e.merge(j, i) {
				splits++
			}
		}
		var list []gotRecord
		where := "from=latest"
		if rnd.IntN(2) == 0 {
			act()
			where = "from=trim_horizon"
		}
		for cut := range 8 {
			c := s.open(t, where)
			m := c.must()
			where = "resume=" + m.Resume
			act()
			for range rnd.IntN(4) {
				if len(list) == n {
					break
				}
				m, err := c.next()
				if err != nil {
					t.Fatalf("seed %d round %d cut %d: %v, with %d of %d", seed, round, cut, err, len(list), n)
				}
				if m.Error != nil {
					t.Fatalf("seed %d round %d: %+v", seed, round, *m.Error)
				}
				list = append(list, m.Records...)
				where = "resume=" + m.Resume
			}
			_ = c.ws.Close()
			cuts++
		}
		c := s.open(t, where)
		rest, _ := c.records(n - len(list))
		checkOrder(t, append(list, rest...), n)
		shards += len(e.shards)
		if t.Failed() {
			t.Fatalf("seed %d round %d", seed, round)
		}
	}
	t.Logf("%d streams, %d shards, %d splits and merges, %d cuts, seed %d", rounds, shards, splits, cuts, seed)
}

// TestChildrenOutOfOrder finds the children of a shard that ended later than
// another whose children have higher numbers.
func TestChildrenOutOfOrder(t *testing.T) {
	e := newFake(2)
	s := newServer(t, e)
	c := s.open(t, "from=latest&credit=1")
	c.must()
	e.split(1) // 2, 3
	e.split(0) // 4, 5
	for i := range 40 {
		e.mustPut("k"+strconv.Itoa(i), strconv.Itoa(i))
	}
	c.say(`{"credit":1000}`)
	list, _ := c.records(40)
	checkOrder(t, list, 40)
}

// TestExpiredShard goes on when a shard vanishes under its reader, or before a
// token is used.
func TestExpiredShard(t *testing.T) {
	e := newFake(2)
	s := newServer(t, e)
	c := s.open(t, "from=latest")
	hello := c.must()
	e.do(func() {
		e.shards[0].Closed, e.shards[0].expired = time.Now(), true
		e.shards = append(e.shards, e.newShard(2, e.shards[0].Range, 0, datastream.NoShard))
	})
	for i := range 20 {
		e.mustPut("k"+strconv.Itoa(i), strconv.Itoa(i))
	}
	list, _ := c.records(20)
	checkOrder(t, list, 20)
	list, _ = s.open(t, "resume="+hello.Resume).records(20)
	checkOrder(t, list, 20)
}
