package datastream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func mustSubscribe(t testing.TB, e *Engine, consumer string, shard uint32, start Start) *Subscription {
	t.Helper()
	sub, err := e.Subscribe(t.Context(), "s", consumer, shard, start)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// consumers makes a stream with one shard and two consumers, in a bubble of its own time.
func consumers(t *testing.T, set func(*Options), f func(t *testing.T, e *Engine)) {
	synctest.Test(t, func(t *testing.T) {
		o := []func(*Options){}
		if set != nil {
			o = append(o, set)
		}
		g := newGround(t)
		e := g.open(t, o...)
		defer g.close(t)
		mustCreate(t, e, "s", 1)
		for _, name := range []string{"c", "d"} {
			if _, err := e.RegisterConsumer(t.Context(), "s", name, nil); err != nil {
				t.Fatal(err)
			}
		}
		f(t, e)
	})
}

func TestSubscription(t *testing.T) {
	latest := Start{From: Latest}
	for _, test := range []struct {
		name string
		run  func(t *testing.T, e *Engine)
	}{
		{"what was put before comes at once", func(t *testing.T, e *Engine) {
			mustPut(t, e, "s", "a", "1")
			b, err := mustSubscribe(t, e, "c", 0, Start{From: TrimHorizon}).Next(t.Context())
			if err != nil || len(b.Records) != 1 {
				t.Error(b, err)
			}
		}},
		{"a put is pushed without delay", func(t *testing.T, e *Engine) {
			sub := mustSubscribe(t, e, "c", 0, latest)
			put := time.Now()
			time.AfterFunc(2*time.Second, func() { mustPut(t, e, "s", "a", "1") })
			b, err := sub.Next(t.Context())
			if err != nil || len(b.Records) != 1 || time.Since(put) != 2*time.Second {
				t.Error(b, err, time.Since(put))
			}
		}},
		{"an empty batch after five seconds", func(t *testing.T, e *Engine) {
			sub := mustSubscribe(t, e, "c", 0, latest)
			began := time.Now()
			b, err := sub.Next(t.Context())
			if err != nil || len(b.Records) != 0 || b.Behind != 0 || time.Since(began) != 5*time.Second {
				t.Error(b, err, time.Since(began))
			}
		}},
		{"over after five minutes", func(t *testing.T, e *Engine) {
			sub := mustSubscribe(t, e, "c", 0, latest)
			began := time.Now()
			n := 0
			for {
				if _, err := sub.Next(t.Context()); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if took := time.Since(began); took != 5*time.Minute || n != 60 && n != 59 {
				t.Errorf("%d batches in %v", n, took)
			}
		}},
		{"another within five seconds is refused", func(t *testing.T, e *Engine) {
			sub := mustSubscribe(t, e, "c", 0, latest)
			time.Sleep(5*time.Second - 1)
			_, err := e.Subscribe(t.Context(), "s", "c", 0, latest)
			wantKind(t, err, ErrInUse)
			mustPut(t, e, "s", "a", "1")
			if b, err := sub.Next(t.Context()); err != nil || len(b.Records) != 1 {
				t.Error("the first one ended:", err)
			}
		}},
		{"also when the first is closed", func(t *testing.T, e *Engine) {
			mustSubscribe(t, e, "c", 0, latest).Close()
			_, err := e.Subscribe(t.Context(), "s", "c", 0, latest)
			wantKind(t, err, ErrInUse)
		}},
		{"a refused one does not count", func(t *testing.T, e *Engine) {
			mustSubscribe(t, e, "c", 0, latest)
			time.Sleep(4 * time.Second)
			_, err := e.Subscribe(t.Context(), "s", "c", 0, latest)
			wantKind(t, err, ErrInUse)
			time.Sleep(time.Second)
			mustSubscribe(t, e, "c", 0, latest)
		}},
		{"one later takes over", func(t *testing.T, e *Engine) {
			sub := mustSubscribe(t, e, "c", 0, latest)
			time.AfterFunc(5*time.Second, func() { mustSubscribe(t, e, "c", 0, latest) })
			_, err := sub.Next(t.Context()) // the quiet batch comes at the same moment
			if err == nil {
				_, err = sub.Next(t.Context())
			}
			wantKind(t, err, ErrSubscriptions)
		}},
		{"another consumer has its own", func(t *testing.T, e *Engine) {
			mustSubscribe(t, e, "c", 0, latest)
			mustSubscribe(t, e, "d", 0, latest)
		}},
		{"closing wakes Next", func(t *testing.T, e *Engine) {
			sub := mustSubscribe(t, e, "c", 0, latest)
			time.AfterFunc(time.Second, sub.Close)
			if _, err := sub.Next(t.Context()); err != io.EOF {
				t.Error(err)
			}
		}},
		{"the context ends Next alone", func(t *testing.T, e *Engine) {
			sub := mustSubscribe(t, e, "c", 0, latest)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := sub.Next(ctx)
			wantKind(t, err, context.DeadlineExceeded)
			mustPut(t, e, "s", "a", "1")
			if b, err := sub.Next(t.Context()); err != nil || len(b.Records) != 1 {
				t.Error(b, err)
			}
		}},
		{"deregistering ends it", func(t *testing.T, e *Engine) {
			sub := mustSubscribe(t, e, "c", 0, latest)
			time.AfterFunc(time.Second, func() {
				if err := e.DeregisterConsumer(context.Background(), "s", "c"); err != nil {
					t.Error(err)
				}
			})
			_, err := sub.Next(t.Context())
			wantKind(t, err, ErrNotFound)
			_, err = e.Subscribe(t.Context(), "s", "c", 0, latest)
			wantKind(t, err, ErrNotFound)
		}},
		{"deleting the stream ends it", func(t *testing.T, e *Engine) {
			sub := mustSubscribe(t, e, "c", 0, latest)
			wantKind(t, e.Delete(t.Context(), "s", false), ErrInUse)
			time.AfterFunc(time.Second, func() {
				if err := e.Delete(context.Background(), "s", true); err != nil {
					t.Error(err)
				}
			})
			_, err := sub.Next(t.Context())
			wantKind(t, err, ErrNotFound)
		}},
		{"a split ends the shard", func(t *testing.T, e *Engine) {
			sub := mustSubscribe(t, e, "c", 0, latest)
			began := time.Now()
			time.AfterFunc(time.Second, func() {
				if err := e.Split(context.Background(), "s", 0, HashKey{1 << 63, 0}); err != nil {
					t.Error(err)
				}
			})
			b, err := sub.Next(t.Context())
			if err != nil || !b.End || len(b.Children) != 2 || b.Children[0].Range.Start != (HashKey{}) || time.Since(began) != time.Second {
				t.Error(b, err, time.Since(began))
			}
			if _, err := sub.Next(t.Context()); err != io.EOF {
				t.Error(err)
			}
		}},
		{"an unknown shard", func(t *testing.T, e *Engine) {
			_, err := e.Subscribe(t.Context(), "s", "c", 9, latest)
			wantKind(t, err, ErrNotFound)
		}},
	} {
		t.Run(test.name, func(t *testing.T) { consumers(t, nil, test.run) })
	}
}

// TestContinuation goes on after each batch with a new subscription, as clients
// do, and misses and doubles nothing.
func TestContinuation(t *testing.T) {
	consumers(t, nil, func(t *testing.T, e *Engine) {
		from := Start{From: Latest}
		next := 0
		for round := range 20 {
			sub := mustSubscribe(t, e, "c", 0, from)
			if round%3 > 0 {
				mustPut(t, e, "s", "a", fmt.Sprint(round))
			}
			for range 2 {
				b, err := sub.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range b.Records {
					if next++; next%3 == 0 {
						next++
					}
					if string(r.Data) != fmt.Sprint(next) {
						t.Fatalf("round %d: read %s, want %d", round, r.Data, next)
					}
				}
				from = Start{From: AfterSequence, Sequence: b.Continue.String()}
			}
			sub.Close()
			time.Sleep(5 * time.Second)
		}
		if next != 19 {
			t.Errorf("read up to %d", next)
		}
	})
}

// TestPushPace holds a consumer to 2 MiB a second, of its own.
func TestPushPace(t *testing.T) {
	consumers(t, func(o *Options) { o.Limits = AWSLimits(); o.Limits.ControlRates = false }, func(t *testing.T, e *Engine) {
		for range 12 {
			mustPut(t, e, "s", "a", string(make([]byte, 1<<20-1)))
			time.Sleep(time.Second)
		}
		for _, c := range []string{"c", "d"} {
			sub := mustSubscribe(t, e, c, 0, Start{From: TrimHorizon})
			began := time.Now()
			for got := 0; got < 12; {
				b, err := sub.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				got += len(b.Records)
			}
			if took := time.Since(began).Seconds(); took < 5 || took > 6 {
				t.Errorf("12 MiB in %.2f s", took)
			}
		}
	})
}

func TestConsumers(t *testing.T) {
	e := openEngine(t, func(o *Options) { o.Limits.ConsumersPerStream = 3 })
	mustCreate(t, e, "s", 1)
	for _, name := range []string{"b", "c", "a"} {
		c, err := e.RegisterConsumer(t.Context(), "s", name, map[string]string{"x": name})
		if err != nil || c.Status != Creating || c.Created.Nanosecond() != 0 {
			t.Fatal(c, err)
		}
	}
	_, err := e.RegisterConsumer(t.Context(), "s", "a", nil)
	wantKind(t, err, ErrInUse)
	_, err = e.RegisterConsumer(t.Context(), "s", "d", nil)
	wantKind(t, err, ErrLimit)
	_, err = e.RegisterConsumer(t.Context(), "s", "not a name", nil)
	wantKind(t, err, ErrInvalid)
	list, more, err := e.Consumers("s", "a", 1)
	if err != nil || !more || len(list) != 1 || list[0].Name != "b" || list[0].Status != Active {
		t.Error(list, more, err)
	}
	if err := e.TagConsumer(t.Context(), "s", "a", map[string]string{"y": "2"}); err != nil {
		t.Error(err)
	}
	if err := e.UntagConsumer(t.Context(), "s", "a", []string{"x", "none"}); err != nil {
		t.Error(err)
	}
	if tags, err := e.ConsumerTags("s", "a"); err != nil || fmt.Sprint(tags) != "map[y:2]" {
		t.Error(tags, err)
	}
	wantKind(t, e.SetPolicy(t.Context(), "s", "a", ""), ErrNotFound)
	if err := e.SetPolicy(t.Context(), "s", "a", "{}"); err != nil {
		t.Error(err)
	}
	if p, err := e.Policy("s", "a"); err != nil || p != "{}" {
		t.Error(p, err)
	}
	if err := e.DeregisterConsumer(t.Context(), "s", "b"); err != nil {
		t.Error(err)
	}
	wantKind(t, e.DeregisterConsumer(t.Context(), "s", "b"), ErrNotFound)
	list, _, _ = e.Consumers("s", "", 10)
	if !slices.EqualFunc(list, []string{"a", "c"}, func(c Consumer, n string) bool { return c.Name == n }) {
		t.Error(list)
	}
}

// TestPushLatency measures from the call of Put to the return of Next.
func TestPushLatency(t *testing.T) {
	e := openEngine(t)
	mustCreate(t, e, "s", 1)
	if _, err := e.RegisterConsumer(t.Context(), "s", "c", nil); err != nil {
		t.Fatal(err)
	}
	sub := mustSubscribe(t, e, "c", 0, Start{From: Latest})
	var took []time.Duration
	sent := make(chan time.Time) // without room: else a batch might have two records
	go func() {
		for range 500 {
			time.Sleep(200 * time.Microsecond)
			sent <- time.Now()
			if _, err := e.Put(context.Background(), "s", []Put{{PartitionKey: "a", Data: []byte("x")}}, PutOptions{}); err != nil {
				t.Error(err)
			}
		}
		close(sent)
	}()
	for at := range sent {
		if b, err := sub.Next(t.Context()); err != nil || len(b.Records) == 0 {
			t.Fatal(errors.Join(err, errors.New("no record")))
		}
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	t.Logf("put to push: p50 %v, p99 %v", took[len(took)/2], took[len(took)*99/100])
}
