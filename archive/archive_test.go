package archive

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

func TestRecordAndRead(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	r := p.record(a, "cam")
	want := r.add(5)
	got := listed(t, a, "cam")
	if !reflect.DeepEqual(numbers(got), want) {
		t.Fatalf("listed %v, want %v", numbers(got), want)
	}
	checkReadable(t, a, "cam", got) // from the spool
	r.close()
	settled(t, a)
	if info, _ := a.Stream("cam"); info.Spooled != 0 || info.Fragments != 5 || info.Recording || info.First != got[0] || info.Last != got[4] {
		t.Fatalf("stream is %+v", info)
	}
	checkReadable(t, a, "cam", got) // from the bucket
	p.close(a)

	a = p.open()
	again := listed(t, a, "cam")
	if !reflect.DeepEqual(again, got) {
		t.Fatalf("after reopening:\n%+v\nwant\n%+v", again, got)
	}
	checkReadable(t, a, "cam", again)
	if n := len(p.record(a, "cam").add(1)); n != 1 {
		t.Fatal("cannot record after reopening")
	}
	if l := listed(t, a, "cam"); len(l) != 6 || l[5].Number.Epoch <= l[4].Number.Epoch {
		t.Fatalf("epochs after reopening: %v", numbers(l))
	}
}

// TestSealRules has a row for each thing that ends a segment.
func TestSealRules(t *testing.T) {
	for _, c := range []struct {
		name    string
		objects int // in which the fragments lie
		do      func(r *recorder)
	}{
		{"nothing", 1, func(r *recorder) {}},
		{"size", 3, func(r *recorder) { r.a.opts.SealBytes = 1; r.add(1); r.a.opts.SealBytes = 1 << 30 }},
		{"age", 2, func(r *recorder) { r.p.clock.Add(time.Minute) }},
		{"age by the chores", 2, func(r *recorder) { r.p.clock.Add(time.Minute); r.a.chore(context.Background()) }},
		{"changed parameters", 2, func(r *recorder) { r.g.video = testVideo(); r.g.video.Params[1] = []byte{0x68, 1} }},
		{"same parameters", 1, func(r *recorder) { r.g.video = testVideo() }},
		{"new track", 2, func(r *recorder) { r.g.audio = testAudio(); r.g.audio.ID = 3 }},
		{"silent track", 1, func(r *recorder) { a := r.g.audio; r.g.audio = nil; r.add(1); r.g.audio = a }},
		{"lease end", 2, func(r *recorder) { r.close(); *r = *r.p.record(r.a, "cam") }},
		{"hour", 2, func(r *recorder) { r.p.clock.Add(10 * time.Hour); r.a.opts.SealAge = 100 * time.Hour }},
		{"decode time steps back", 2, func(r *recorder) { r.l.Created = r.l.Created.Add(time.Second); r.g.created = r.l.Created }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			a := p.open()
			r := p.record(a, "cam")
			r.p.clock.Add(5 * time.Second)
			r.add(2)
			lease := r.l
			c.do(r)
			if r.l.Epoch == lease.Epoch {
				r.l = lease
			}
			n := r.begin()
			r.l.Created = r.g.created
			f := func() *fragments.Fragment { r.g.at = sinceCreation(r.g.created, p.clock.Now()); return r.g.next(n) }()
			if err := a.Writer().Commit(context.Background(), fragments.Lease{Stream: "cam", Epoch: r.l.Epoch, Created: lease.Created}, f); err != nil {
				t.Fatal(err)
			}
			entries := listed(t, a, "cam")
			var objects []string
			for _, e := range entries {
				if !slices.Contains(objects, e.Object) {
					objects = append(objects, e.Object)
				}
			}
			if len(objects) != c.objects {
				t.Fatalf("%d fragments lie in %d objects, want %d", len(entries), len(objects), c.objects)
			}
			if c.name != "decode time steps back" {
				checkReadable(t, a, "cam", entries)
			}
		})
	}
}

func TestVisibleInNumberOrder(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	r := p.record(a, "cam")
	n1, n2, n3 := r.begin(), r.begin(), r.begin()
	r.commit(n3)
	changed := a.Changed("cam")
	if got := listed(t, a, "cam"); len(got) != 0 {
		t.Fatalf("%v are visible while earlier numbers are open", numbers(got))
	}
	r.w.Abort(r.l, n1)
	if got := listed(t, a, "cam"); len(got) != 0 {
		t.Fatalf("%v are visible while %v is open", numbers(got), n2)
	}
	select {
	case <-changed:
		t.Fatal("told of a change before there was one")
	default:
	}
	r.commit(n2)
	if got := numbers(listed(t, a, "cam")); !reflect.DeepEqual(got, []fragments.Number{n2, n3}) {
		t.Fatalf("visible are %v", got)
	}
	select {
	case <-changed:
	default:
		t.Fatal("not told of the change")
	}
	if err := r.w.Commit(context.Background(), r.l, r.g.next(n1)); !errors.Is(err, ErrNotReserved) {
		t.Fatalf("commit of an aborted number: %v", err)
	}
}

func TestHoldTimeout(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	r := p.record(a, "cam")
	n1, n2 := r.begin(), r.begin()
	p.clock.Add(time.Hour)
	a.chore(context.Background()) // an open number alone holds nothing back
	r.commit(n2)
	p.clock.Add(20 * time.Second)
	a.chore(context.Background())
	if got := listed(t, a, "cam"); len(got) != 0 {
		t.Fatal("the open number was given up too early")
	}
	p.clock.Add(10 * time.Second)
	a.chore(context.Background())
	if got := numbers(listed(t, a, "cam")); !reflect.DeepEqual(got, []fragments.Number{n2}) {
		t.Fatalf("visible are %v after the timeout", got)
	}
	if err := r.w.Commit(context.Background(), r.l, r.g.next(n1)); !errors.Is(err, ErrNotReserved) {
		t.Fatalf("commit of an expired number: %v", err)
	}
	if s := a.Stats().Streams[0]; s.Expired != 1 {
		t.Fatalf("%d expired numbers counted", s.Expired)
	}
}

func TestLeases(t *testing.T) {
	p := newPlace(t)
	a := p.open()
	old := p.record(a, "cam")
	n := old.begin()
	fresh := p.record(a, "cam")
	if fresh.l.Epoch <= old.l.Epoch {
		t.Fatalf("epoch %d after %d", fresh.l.Epoch, old.l.Epoch)
	}
	if _, err := old.w.Begin(old.l); !errors.Is(err, ErrLeaseLost) {
		t.Fatalf("begin under the old lease: %v", err)
	}
	if err := old.w.Commit(context.Background(), old.l, old.g.next(n)); !errors.Is(err, ErrLeaseLost) {
		t.Fatalf("commit under the old lease: %v", err)
	}
	old.close() // harmless
	fresh.add(1)
	if _, err := a.Writer().Open(context.Background(), "no/slash"); err == nil {
		t.Fatal("a name with a slash was taken")
	}
	if _, err := a.Stream("none"); !errors.Is(err, ErrNoStream) {
		t.Fatalf("unknown stream: %v", err)
	}
	if _, err := a.Entry(context.Background(), "cam", fragments.Number{Epoch: 9, Counter: 9}); !errors.Is(err, ErrNoFragment) {
		t.Fatalf("unknown fragment: %v", err)
	}
}
