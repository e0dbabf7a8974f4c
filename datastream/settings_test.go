package datastream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// bubble runs f on a new engine in a bubble of its own time.
func bubble(t *testing.T, set func(*Options), f func(t *testing.T, g *ground, e *Engine)) {
	synctest.Test(t, func(t *testing.T) {
		g := newGround(t)
		e := g.open(t, func(o *Options) {
			if set != nil {
				set(o)
			}
		})
		defer g.close(t)
		f(t, g, e)
	})
}

func TestCreateRules(t *testing.T) {
	e := openEngine(t)
	mustCreate(t, e, "taken", 1)
	for _, test := range []struct {
		name string
		o    CreateOptions
		want error
	}{
		{"one shard", CreateOptions{Name: "a", Shards: 1}, nil},
		{"every sign", CreateOptions{Name: "aZ0_.-", Shards: 1}, nil},
		{"the longest name", CreateOptions{Name: strings.Repeat("n", 128), Shards: 1}, nil},
		{"large records", CreateOptions{Name: "large", Shards: 1, MaxRecordKiB: 10240}, nil},
		{"on demand", CreateOptions{Name: "od", Mode: OnDemand}, nil},
		{"warm", CreateOptions{Name: "warm", Mode: OnDemand, WarmMiBps: 9, AutoDistribution: true}, nil},
		{"taken", CreateOptions{Name: "taken", Shards: 1}, ErrInUse},
		{"no name", CreateOptions{Shards: 1}, ErrInvalid},
		{"too long a name", CreateOptions{Name: strings.Repeat("n", 129), Shards: 1}, ErrInvalid},
		{"a slash", CreateOptions{Name: "a/b", Shards: 1}, ErrInvalid},
		{"no shards", CreateOptions{Name: "b"}, ErrInvalid},
		{"too many shards", CreateOptions{Name: "b", Shards: MaxShards + 1}, ErrInvalid},
		{"shards on demand", CreateOptions{Name: "b", Shards: 1, Mode: OnDemand}, ErrMode},
		{"warm and provisioned", CreateOptions{Name: "b", Shards: 1, WarmMiBps: 1}, ErrMode},
		{"too warm", CreateOptions{Name: "b", Mode: OnDemand, WarmMiBps: 10241}, ErrInvalid},
		{"automatic and provisioned", CreateOptions{Name: "b", Shards: 1, AutoDistribution: true}, ErrInvalid},
		{"a mode of its own", CreateOptions{Name: "b", Shards: 1, Mode: "X"}, ErrInvalid},
		{"too small records", CreateOptions{Name: "b", Shards: 1, MaxRecordKiB: 1023}, ErrInvalid},
		{"too large records", CreateOptions{Name: "b", Shards: 1, MaxRecordKiB: 10241}, ErrInvalid},
		{"a bad tag", CreateOptions{Name: "b", Shards: 1, Tags: map[string]string{"aws:x": ""}}, ErrInvalid},
	} {
		if err := e.Create(t.Context(), test.o); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	for name, shards := range map[string]int{"od": 4, "warm": 9, "a": 1} {
		if s, err := e.Stream(name); err != nil || s.OpenShards != shards || s.Status != Active || s.RetentionHours != 24 {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	if streams, open, od := e.Counts(); streams != 7 || open != 5 || od != 2 {
		t.Error(streams, open, od)
	}
	list, more := e.Streams("aZ", 2)
	if !more || len(list) != 2 || list[0].Name != "aZ0_.-" || list[1].Name != "large" {
		t.Error(list, more)
	}
	if err := e.Delete(t.Context(), "a", false); err != nil {
		t.Error(err)
	}
	wantKind(t, e.Delete(t.Context(), "a", false), ErrNotFound)
}

// TestAlterRules has a row for each way in which a setting can be set.
func TestAlterRules(t *testing.T) {
	e := openEngine(t)
	ctx := t.Context()
	mustCreate(t, e, "s", 2)
	if err := e.Create(ctx, CreateOptions{Name: "od", Mode: OnDemand}); err != nil {
		t.Fatal(err)
	}
	tags := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprint("tag", i)] = ""
		}
		return m
	}
	ten, minus := 10, -1
	for _, test := range []struct {
		name string
		err  error
		want error
	}{
		{"raise", e.SetRetention(ctx, "s", 48, true), nil},
		{"raise to the same", e.SetRetention(ctx, "s", 48, true), nil},
		{"raise to less", e.SetRetention(ctx, "s", 47, true), ErrInvalid},
		{"raise to most", e.SetRetention(ctx, "s", 8760, true), nil},
		{"raise beyond", e.SetRetention(ctx, "s", 8761, true), ErrInvalid},
		{"lower to more", e.SetRetention(ctx, "s", 8761, false), ErrInvalid},
		{"lower to least", e.SetRetention(ctx, "s", 24, false), nil},
		{"lower beyond", e.SetRetention(ctx, "s", 23, false), ErrInvalid},
		{"lower to higher", e.SetRetention(ctx, "s", 25, false), ErrInvalid},
		{"no stream", e.SetRetention(ctx, "none", 48, true), ErrNotFound},

		{"record size", e.SetMaxRecord(ctx, "s", 10240), nil},
		{"record size too small", e.SetMaxRecord(ctx, "s", 1023), ErrInvalid},
		{"record size too large", e.SetMaxRecord(ctx, "s", 10241), ErrInvalid},

		{"automatic on demand", e.SetDistribution(ctx, "od", true), nil},
		{"automatic and provisioned", e.SetDistribution(ctx, "s", true), ErrInvalid},
		{"by key and provisioned", e.SetDistribution(ctx, "s", false), nil},

		{"split on demand", e.Split(ctx, "od", 0, HashKey{1, 0}), ErrMode},
		{"merge on demand", e.Merge(ctx, "od", 0, 1), ErrMode},
		{"count on demand", second(e.SetShardCount(ctx, "od", 5)), ErrMode},
		{"warm on demand", e.SetWarm(ctx, "od", 6), nil},
		{"warm and provisioned", e.SetWarm(ctx, "s", 6), ErrMode},
		{"too warm", e.SetWarm(ctx, "od", 10241), ErrInvalid},
		{"warm below nothing", e.SetWarm(ctx, "od", -1), ErrInvalid},

		{"split beside the start", e.Split(ctx, "s", 0, HashKey{0, 1}), ErrInvalid},
		{"split at the end", e.Split(ctx, "s", 0, HashKey{1<<63 - 1, 1<<64 - 1}), ErrInvalid},
		{"split outside", e.Split(ctx, "s", 0, HashKey{1 << 63, 5}), ErrInvalid},
		{"split no shard", e.Split(ctx, "s", 9, HashKey{1, 0}), ErrNotFound},
		{"merge with itself", e.Merge(ctx, "s", 0, 0), ErrInvalid},
		{"merge no shard", e.Merge(ctx, "s", 0, 9), ErrNotFound},
		{"split near the start", e.Split(ctx, "s", 0, HashKey{0, 2}), nil}, // 0 -> 2, 3
		{"split what is closed", e.Split(ctx, "s", 0, HashKey{0, 5}), ErrInvalid},
		{"merge what is closed", e.Merge(ctx, "s", 0, 1), ErrInvalid},
		{"merge what does not touch", e.Merge(ctx, "s", 2, 1), ErrInvalid},
		{"merge what touches", e.Merge(ctx, "s", 3, 1), nil},
		{"merge around the circle", e.Merge(ctx, "s", 4, 2), nil}, // they touch at 2 as well
		{"no shards", second(e.SetShardCount(ctx, "s", 0)), ErrInvalid},
		{"too many shards", second(e.SetShardCount(ctx, "s", MaxShards+1)), ErrInvalid},

		{"to on demand", e.SetMode(ctx, "s", OnDemand, &ten), nil},
		{"to provisioned", e.SetMode(ctx, "s", Provisioned, nil), nil},
		{"warm to provisioned", e.SetMode(ctx, "s", Provisioned, &ten), ErrMode},
		{"warm below nothing", e.SetMode(ctx, "s", OnDemand, &minus), ErrInvalid},
		{"another mode", e.SetMode(ctx, "s", "X", nil), ErrInvalid},

		{"tags", e.Tag(ctx, "s", tags(50)), nil},
		{"the same tags", e.Tag(ctx, "s", tags(50)), nil},
		{"a tag too many", e.Tag(ctx, "s", map[string]string{"x": ""}), ErrInvalid},
		{"no key", e.Tag(ctx, "od", map[string]string{"": ""}), ErrInvalid},
		{"long key", e.Tag(ctx, "od", map[string]string{strings.Repeat("é", 129): ""}), ErrInvalid},
		{"long value", e.Tag(ctx, "od", map[string]string{"x": strings.Repeat("é", 257)}), ErrInvalid},
		{"longest tag", e.Tag(ctx, "od", map[string]string{strings.Repeat("é", 128): strings.Repeat("é", 256)}), nil},
		{"untag", e.Untag(ctx, "s", []string{"tag1", "none"}), nil},

		{"no policy", e.SetPolicy(ctx, "s", "", ""), ErrNotFound},
		{"policy", e.SetPolicy(ctx, "s", "", "{}"), nil},
		{"large policy", e.SetPolicy(ctx, "s", "", strings.Repeat(" ", 20<<10+1)), ErrInvalid},
		{"delete policy", e.SetPolicy(ctx, "s", "", ""), nil},
		{"policy of no consumer", e.SetPolicy(ctx, "s", "c", "{}"), ErrNotFound},

		{"unknown key", e.Encrypt(ctx, "s", "none"), ErrKeyNotFound},
		{"no key", e.Encrypt(ctx, "s", ""), ErrInvalid},
		{"encrypt", e.Encrypt(ctx, "s", "mine"), nil},
		{"again", e.Encrypt(ctx, "s", "mine"), nil},
		{"another key", e.Encrypt(ctx, "s", "alias/aws/kinesis"), nil},
		{"stop with another key", e.Decrypt(ctx, "s", "mine"), ErrInvalid},
		{"stop", e.Decrypt(ctx, "s", "alias/aws/kinesis"), nil},
		{"stop again", e.Decrypt(ctx, "s", "alias/aws/kinesis"), nil},
	} {
		if !errors.Is(test.err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, test.err, test.want)
		}
	}
	checkTiles(t, e, "s")
	if s, _ := e.Stream("s"); s.OpenShards != 10 || s.Mode != Provisioned {
		t.Errorf("%+v", s)
	}
	if s, _ := e.Stream("od"); s.OpenShards != 6 || !s.AutoDistribution || s.WarmMiBps != 6 {
		t.Errorf("%+v", s)
	}
	if have, _ := e.Tags("s"); len(have) != 49 {
		t.Errorf("%d tags", len(have))
	}
}

func second[T any](_ T, err error) error { return err }

func TestMonitored(t *testing.T) {
	e := openEngine(t)
	mustCreate(t, e, "s", 1)
	for _, test := range []struct {
		which         []string
		on            bool
		before, after int
	}{
		{[]string{"IncomingBytes", "OutgoingBytes"}, true, 0, 2},
		{[]string{"IncomingBytes"}, true, 2, 2},
		{[]string{"IncomingBytes"}, false, 2, 1},
		{[]string{"ALL"}, true, 1, 7},
		{[]string{"ALL"}, false, 7, 0},
	} {
		before, after, err := e.SetMonitored(t.Context(), "s", test.which, test.on)
		if err != nil || len(before) != test.before || len(after) != test.after {
			t.Errorf("%v %v: %v, %v, %v", test.which, test.on, before, after, err)
		}
	}
	_, _, err := e.SetMonitored(t.Context(), "s", []string{"X"}, true)
	wantKind(t, err, ErrInvalid)
}

// TestControlRates has the service's limits on control calls.
func TestControlRates(t *testing.T) {
	bubble(t, func(o *Options) { o.Limits = AWSLimits(); o.Limits.ShardLimit = 60; o.Limits.OnDemandStreams = 1 }, func(t *testing.T, g *ground, e *Engine) {
		ctx := t.Context()
		mustCreate(t, e, "s", 2)
		for i := range 5 {
			err := e.Create(ctx, CreateOptions{Name: fmt.Sprint(i), Shards: 1})
			if i < 4 && err != nil || i == 4 && !errors.Is(err, ErrLimit) {
				t.Errorf("create %d in a second: %v", i+1, err)
			}
		}
		time.Sleep(time.Second)
		wantKind(t, e.Create(ctx, CreateOptions{Name: "big", Shards: 55}), ErrLimit)
		wantKind(t, second(e.SetShardCount(ctx, "s", 5)), ErrLimit)
		for i, target := range []int{4, 8, 4, 2, 3, 2, 4, 3, 2, 3} {
			if _, err := e.SetShardCount(ctx, "s", target); err != nil {
				t.Errorf("scaling %d: %v", i+1, err)
			}
			time.Sleep(time.Second)
		}
		wantKind(t, second(e.SetShardCount(ctx, "s", 2)), ErrLimit)
		g.close(t)
		e = g.open(t, func(o *Options) { o.Limits = AWSLimits(); o.Limits.OnDemandStreams = 1 })
		wantKind(t, second(e.SetShardCount(ctx, "s", 2)), ErrLimit)
		time.Sleep(24 * time.Hour)
		if _, err := e.SetShardCount(ctx, "s", 2); err != nil {
			t.Errorf("a day later: %v", err)
		}
		wantKind(t, second(e.SetShardCount(ctx, "s", 5)), ErrLimit)

		for _, mode := range []Mode{OnDemand, Provisioned} {
			if err := e.SetMode(ctx, "s", mode, nil); err != nil {
				t.Error(err)
			}
		}
		wantKind(t, e.SetMode(ctx, "s", OnDemand, nil), ErrLimit)
		if err := e.SetMode(ctx, "0", OnDemand, nil); err != nil {
			t.Error(err)
		}
		wantKind(t, e.SetMode(ctx, "1", OnDemand, nil), ErrLimit)
		for i := range 26 {
			var err error
			if i%2 == 0 {
				err = e.Encrypt(ctx, "s", "mine")
			} else {
				err = e.Decrypt(ctx, "s", "mine")
			}
			if i < 25 && err != nil || i == 25 && !errors.Is(err, ErrLimit) {
				t.Errorf("change %d of the key: %v", i+1, err)
			}
		}
	})
}

// TestStates has what the service shows while something changes.
func TestStates(t *testing.T) {
	bubble(t, func(o *Options) { o.StateDelay = time.Second }, func(t *testing.T, g *ground, e *Engine) {
		ctx := t.Context()
		status := func(want Status) {
			t.Helper()
			if s, err := e.Stream("s"); err != nil || s.Status != want {
				t.Errorf("%v, %v, want %s", s.Status, err, want)
			}
		}
		settle := func() { time.Sleep(time.Second); synctest.Wait() }
		mustCreate(t, e, "s", 1)
		status(Creating)
		_, err := e.Put(ctx, "s", []Put{{PartitionKey: "a"}}, PutOptions{})
		wantKind(t, err, ErrNotFound)
		wantKind(t, e.Split(ctx, "s", 0, HashKey{1, 0}), ErrInUse)
		wantKind(t, e.Create(ctx, CreateOptions{Name: "s", Shards: 1}), ErrInUse)
		wantKind(t, e.Tag(ctx, "s", map[string]string{"a": ""}), ErrInUse)
		settle()
		status(Active)
		for name, change := range map[string]func() error{
			"split": func() error {
				return e.Split(ctx, "s", mustShards(t, e, "s", ShardsAtLatest)[0].Index, HashKey{rand.Uint64() >> 20, 0})
			},
			"retention": func() error { return e.SetRetention(ctx, "s", 48, true) },
			"encrypt":   func() error { return e.Encrypt(ctx, "s", "mine") },
			"mode":      func() error { return e.SetMode(ctx, "s", Provisioned, nil) },
		} {
			if err := change(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			status(Updating)
			wantKind(t, e.SetRetention(ctx, "s", 72, true), ErrInUse)
			mustPut(t, e, "s", "a", "while "+name)
			settle()
			status(Active)
		}
		if err := e.SetRetention(ctx, "s", 48, true); err != nil {
			t.Error(err)
		}
		status(Active) // it has this retention already
		mustCreate(t, e, "early", 1)
		if err := e.Delete(ctx, "early", false); err != nil {
			t.Errorf("delete of a stream that is CREATING: %v", err)
		}
		settle()
		_, err = e.Stream("early")
		wantKind(t, err, ErrNotFound)
		if c, err := e.RegisterConsumer(ctx, "s", "c", nil); err != nil || c.Status != Creating {
			t.Error(c, err)
		}
		_, err = e.Subscribe(ctx, "s", "c", 0, Start{From: Latest})
		wantKind(t, err, ErrInUse)
		settle()
		if c, err := e.Consumer("s", "c"); err != nil || c.Status != Active {
			t.Error(c, err)
		}
		if err := e.DeregisterConsumer(ctx, "s", "c"); err != nil {
			t.Error(err)
		}
		if c, err := e.Consumer("s", "c"); err != nil || c.Status != Deleting {
			t.Error(c, err)
		}
		settle()
		if _, err := e.Consumer("s", "c"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if err := e.Split(ctx, "s", mustShards(t, e, "s", ShardsAtLatest)[0].Index, HashKey{rand.Uint64() >> 40, 0}); err != nil {
			t.Error(err)
		}
		open := len(mustShards(t, e, "s", ShardsAtLatest))
		g.close(t) // while it is UPDATING
		e = g.open(t, func(o *Options) { o.StateDelay = time.Second })
		status(Active)
		if n := len(mustShards(t, e, "s", ShardsAtLatest)); n != open+1 {
			t.Errorf("%d open shards after the restart, want %d", n, open+1)
		}
		if err := e.Delete(ctx, "s", false); err != nil {
			t.Error(err)
		}
		status(Deleting)
		mustPut(t, e, "s", "a", "the service may still take it")
		wantKind(t, e.Delete(ctx, "s", false), ErrInUse)
		g.close(t)
		e = g.open(t)
		_, err = e.Stream("s")
		wantKind(t, err, ErrNotFound)
	})
}

// TestReuse makes a stream anew under a name: nothing of the old one shows.
func TestReuse(t *testing.T) {
	g := newGround(t)
	e := g.open(t)
	mustCreate(t, e, "s", 1)
	old := mustPut(t, e, "s", "a", "old")
	c := mustSeek(t, e, "s", 0, Start{From: TrimHorizon})
	if err := e.Delete(t.Context(), "s", true); err != nil {
		t.Fatal(err)
	}
	_, err := e.Read(t.Context(), "s", c, 0, 0)
	wantKind(t, err, ErrNotFound)
	wantKind(t, e.Wait(t.Context(), "s", c), ErrNotFound)
	mustCreate(t, e, "s", 1)
	_, err = e.Read(t.Context(), "s", c, 0, 0)
	wantKind(t, err, ErrNotFound)
	if n := len(readAll(t, e, "s")); n != 0 {
		t.Errorf("%d records", n)
	}
	before, _ := e.Stream("s")
	g.close(t)
	e = g.open(t)
	mustCreate(t, e, "other", 1)
	after, _ := e.Stream("other")
	if after.ID <= before.ID {
		t.Errorf("id %d after %d", after.ID, before.ID)
	}
	_ = old
}

// TestLongAgo: what passes the retention is hidden, then its shards go.
func TestLongAgo(t *testing.T) {
	bubble(t, nil, func(t *testing.T, g *ground, e *Engine) {
		ctx := context.Background()
		mustCreate(t, e, "s", 1)
		first := mustPut(t, e, "s", "a", "0")
		time.Sleep(time.Hour)
		mustPut(t, e, "s", "a", "1")
		if err := e.Split(ctx, "s", 0, HashKey{1 << 63, 0}); err != nil {
			t.Fatal(err)
		}
		read := func(start Start, want ...string) {
			t.Helper()
			b := mustRead(t, e, "s", mustSeek(t, e, "s", 0, start))
			var got []string
			for _, r := range b.Records {
				got = append(got, string(r.Data))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) || !b.End {
				t.Errorf("%v: %v, want %v", start, got, want)
			}
		}
		horizon := Start{From: TrimHorizon}
		read(horizon, "0", "1")
		time.Sleep(23*time.Hour + time.Second)
		read(horizon, "1")
		read(Start{From: AtSequence, Sequence: first.Sequence.String()}, "1")
		read(Start{From: AtTimestamp, Time: time.Unix(0, 0)}, "1")
		if err := e.SetRetention(ctx, "s", 100, true); err != nil {
			t.Fatal(err)
		}
		read(horizon, "1") // raising does not bring back the first
		if err := e.SetRetention(ctx, "s", 24, false); err != nil {
			t.Fatal(err)
		}
		if n := len(mustShards(t, e, "s", "")); n != 3 {
			t.Errorf("%d shards", n)
		}
		c := mustSeek(t, e, "s", 0, horizon)
		time.Sleep(time.Hour)
		if n := len(mustShards(t, e, "s", "")); n != 2 {
			t.Errorf("%d shards", n)
		}
		_, err := e.Seek("s", 0, horizon)
		wantKind(t, err, ErrNotFound)
		if b := mustRead(t, e, "s", c); !b.End || len(b.Children) != 2 || len(b.Records) != 0 {
			t.Errorf("%+v", b)
		}
		kept := func() (n int) {
			for range g.meta.List(chunkPrefix(1)) {
				n++
			}
			return n
		}
		if err := e.Delete(ctx, "s", false); err != nil || kept() != 0 {
			t.Error(err, kept())
		}
		mustCreate(t, e, "s", chunkShards)
		if _, err := e.SetShardCount(ctx, "s", 1); err != nil {
			t.Fatal(err)
		}
		before := g.meta.len()
		time.Sleep(26 * time.Hour)
		if _, err := e.Read(ctx, "s", c, 0, 0); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if now := g.meta.len(); now >= before {
			t.Errorf("%d keys, were %d: nothing was forgotten", now, before)
		}
		checkTiles(t, e, "s")
		g.close(t)
		e = g.open(t)
		checkTiles(t, e, "s")
	})
}
