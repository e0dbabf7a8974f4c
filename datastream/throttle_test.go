package datastream

import (
	"errors"
	"strconv"
	"testing"
	"time"
)

// TestThrottle holds shards to the service's throughput.
func TestThrottle(t *testing.T) {
	throttled := func(o *Options) { o.Limits.Throttle = true }
	puts := func(n, size int) (list []Put) {
		for range n {
			list = append(list, Put{PartitionKey: "k", Data: make([]byte, size)})
		}
		return list
	}
	kept := func(t *testing.T, e *Engine, list []Put) (n int) {
		t.Helper()
		rs, err := e.Put(t.Context(), "s", list, PutOptions{Batch: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			if r.Err == nil {
				n++
			} else if !errors.Is(r.Err, ErrThrottled) {
				t.Error(r.Err)
			}
		}
		return n
	}
	t.Run("records", func(t *testing.T) {
		bubble(t, throttled, func(t *testing.T, _ *ground, e *Engine) {
			mustCreate(t, e, "s", 1)
			if n := kept(t, e, puts(500, 1)) + kept(t, e, puts(500, 1)) + kept(t, e, puts(500, 1)); n != 1000 {
				t.Errorf("%d records in a second", n)
			}
			time.Sleep(100 * time.Millisecond)
			if n := kept(t, e, puts(500, 1)); n < 99 || n > 100 {
				t.Errorf("%d records 100 ms later", n)
			}
			var f StreamFigures
			e.Figures(func(_ string, s StreamFigures) { f = s })
			if f.WriteProvisionedThroughputExceeded < 900 || f.PutRecordsThrottledRecords != f.WriteProvisionedThroughputExceeded || f.IncomingRecords > 1100 {
				t.Errorf("%+v", f)
			}
		})
	})
	t.Run("bytes", func(t *testing.T) {
		bubble(t, throttled, func(t *testing.T, _ *ground, e *Engine) {
			mustCreate(t, e, "s", 1)
			if n := kept(t, e, puts(20, 100<<10)); n != 10 {
				t.Errorf("%d of 100 KiB in a second", n)
			}
			for range 110 {
				kept(t, e, puts(10, 100<<10))
			}
			if kept(t, e, puts(1, 1)) != 1 {
				t.Error("refused records count as records")
			}
			time.Sleep(2 * time.Second)
			if n := kept(t, e, puts(20, 100<<10)); n != 10 {
				t.Errorf("%d of 100 KiB in a second", n)
			}
		})
	})
	t.Run("large records", func(t *testing.T) {
		bubble(t, throttled, func(t *testing.T, _ *ground, e *Engine) {
			if err := e.Create(t.Context(), CreateOptions{Name: "s", Shards: 1, MaxRecordKiB: 10240}); err != nil {
				t.Fatal(err)
			}
			if n := kept(t, e, puts(1, 9<<20)); n != 1 {
				t.Error("no burst of 9 MiB")
			}
			if n := kept(t, e, puts(1, 9<<20)); n != 0 {
				t.Error("another burst at once")
			}
			time.Sleep(9 * time.Second)
			if n := kept(t, e, puts(1, 9<<20)); n != 1 {
				t.Error("no burst after 9 s")
			}
		})
	})
	t.Run("reads", func(t *testing.T) {
		bubble(t, throttled, func(t *testing.T, _ *ground, e *Engine) {
			mustCreate(t, e, "s", 2)
			c := mustSeek(t, e, "s", 0, Start{From: Latest})
			read := func() error { return second(e.Read(t.Context(), "s", c, 0, 0)) }
			for i := range 6 {
				if err := read(); (i == 5) != errors.Is(err, ErrThrottled) {
					t.Errorf("read %d in a second: %v", i+1, err)
				}
			}
			if err := second(e.Read(t.Context(), "s", mustSeek(t, e, "s", 1, Start{From: Latest}), 0, 0)); err != nil {
				t.Errorf("another shard: %v", err)
			}
			time.Sleep(200 * time.Millisecond)
			if err := read(); err != nil {
				t.Error(err)
			}
			for range 5 {
				mustSeek(t, e, "s", 0, Start{From: Latest})
			}
			_, err := e.Seek("s", 0, Start{From: Latest})
			wantKind(t, err, ErrThrottled)
		})
	})
	t.Run("10 MiB", func(t *testing.T) {
		bubble(t, throttled, func(t *testing.T, _ *ground, e *Engine) {
			mustCreate(t, e, "s", 1)
			for range 11 {
				if kept(t, e, puts(1, 1<<20-10)) != 1 {
					t.Fatal("throttled")
				}
				time.Sleep(time.Second)
			}
			b := mustRead(t, e, "s", mustSeek(t, e, "s", 0, Start{From: TrimHorizon}))
			if len(b.Records) != 10 {
				t.Fatalf("%d records", len(b.Records))
			}
			read := func() error { return second(e.Read(t.Context(), "s", b.Next, 0, 0)) }
			time.Sleep(4500 * time.Millisecond)
			wantKind(t, read(), ErrThrottled)
			time.Sleep(500 * time.Millisecond)
			if err := read(); err != nil {
				t.Error("5 s later:", err)
			}
		})
	})
	t.Run("none without the limit", func(t *testing.T) {
		e := openEngine(t)
		mustCreate(t, e, "s", 1)
		if n := kept(t, e, puts(500, 1)) + kept(t, e, puts(500, 1)) + kept(t, e, puts(500, 1)); n != 1500 {
			t.Error(n)
		}
	})
}

// TestScaling loads a stream on demand and wants it to grow, then to be left alone.
func TestScaling(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *ground, e *Engine) {
		if err := e.Create(t.Context(), CreateOptions{Name: "s", Mode: OnDemand}); err != nil {
			t.Fatal(err)
		}
		n := 0
		time.Sleep(time.Minute)
		for range 65 { // 4,500 records a second
			for range 9 {
				puts := make([]Put, 500)
				for i := range puts {
					n++
					puts[i].PartitionKey = strconv.Itoa(n)
				}
				if rs, err := e.Put(t.Context(), "s", puts, PutOptions{}); err != nil || rs[0].Err != nil {
					t.Fatal(err, rs)
				}
			}
			time.Sleep(time.Second)
			if s, _ := e.Stream("s"); s.Status != Active {
				t.Fatal(s.Status)
			}
		}
		s, _ := e.Stream("s")
		if s.OpenShards < 8 || s.OpenShards > 16 {
			t.Errorf("%d shards for 4,500 records a second", s.OpenShards)
		}
		if got := len(readAll(t, e, "s")); got != n {
			t.Errorf("read %d, put %d", got, n)
		}
		checkTiles(t, e, "s")
		t.Logf("%d shards", s.OpenShards)
	})
}

func TestLook(t *testing.T) {
	m := newMeter()
	now := time.Unix(1_800_000_000, 0)
	var l load
	look := func(records uint64) {
		now = now.Add(time.Minute)
		m.inRecords.Add(records)
		l = m.look(HashRange{}, now)
	}
	look(1e6)
	if l.now != 0 || l.peak != 0 || l.watched != 0 {
		t.Errorf("at first %+v", l)
	}
	look(30_000)
	if l.now != 0.5 || l.peak != 0.5 || l.watched != time.Minute {
		t.Errorf("after a busy minute %+v", l)
	}
	now = now.Add(24 * time.Hour)
	look(6_000)
	if l.now > 0.001 || l.peak != 0.5 {
		t.Errorf("a day later %+v", l)
	}
	now = now.Add(29 * 24 * time.Hour)
	look(0)
	if l.peak > 0.001 {
		t.Errorf("a month later %+v", l)
	}
	now = now.Add(400 * 24 * time.Hour)
	look(0)
	if l.peak != 0 {
		t.Errorf("a year later %+v", l)
	}
}
