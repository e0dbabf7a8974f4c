// Package journaltest is the suite that every implementation of the journal's
// contracts has to pass. It knows them only by their interfaces; what is
// particular to one, such as its crashes, is tested beside it.
package journaltest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
)

// Journal says how the implementation under test is opened.
type Journal struct {
	// Open opens the lane kept in dir, making it if need be. Pieces of at most
	// 64 KiB must be trimmable. The suite closes what it opens.
	Open func(t *testing.T, dir string) journal.Journal
	// OpenFull opens the same lane as if its device had no room left.
	OpenFull func(t *testing.T, dir string) journal.Journal
}

// RunJournal runs the suite.
func RunJournal(t *testing.T, impl Journal) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Journal)
	}{
		{"entries come back as they went in", testRoundTrip},
		{"futures resolve in order", testOrder},
		{"every writer's entries keep their order", testWriters},
		{"what was acknowledged is there after reopening", testReopen},
		{"reading starts where it is told to", testReadFrom},
		{"reading ends at what was durable at its start", testReadStill},
		{"a caller's buffer is its own again", testCopies},
		{"too large is refused", testTooLarge},
		{"waiting ends when the entry is durable", testWait},
		{"trim drops what is before and nothing after", testTrim},
		{"a full device refuses, reads and trims", testFull},
		{"a closed journal says so", testClosed},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, impl) })
	}
}

// payload is content that tells writer and number.
func payload(writer, n, size int) []byte {
	b := []byte(fmt.Sprintf("%d/%d ", writer, n))
	for len(b) < size {
		b = append(b, byte(writer+n+len(b)))
	}
	return b
}

func wait(t *testing.T, f journal.Future) journal.Position {
	t.Helper()
	p, err := f.Wait(t.Context())
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return p
}

// collect reads everything from a position, with copies of the payloads.
func collect(t *testing.T, j journal.Journal, from journal.Position) []journal.Entry {
	t.Helper()
	var all []journal.Entry
	for e, err := range j.Read(from) {
		if err != nil {
			t.Fatalf("read from %v after %d entries: %v", from, len(all), err)
		}
		if n := len(all); n > 0 && !all[n-1].Position.Less(e.Position) {
			t.Fatalf("entry %v came after %v", e.Position, all[n-1].Position)
		}
		e.Payload = append([]byte{}, e.Payload...)
		all = append(all, e)
	}
	return all
}

func closeJournal(t *testing.T, j journal.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func testRoundTrip(t *testing.T, impl Journal) {
	j := impl.Open(t, t.TempDir())
	defer closeJournal(t, j)
	want := []journal.Entry{
		{Kind: 0, Key: "", Payload: nil},
		{Kind: 1, Key: "camera", Payload: []byte("x")},
		{Kind: 255, Key: string(make([]byte, journal.MaxKey)), Payload: payload(1, 1, 100_000)},
		{Kind: 7, Key: "Tür/門", Payload: payload(1, 2, journal.MaxPayload)},
		{Kind: 7, Key: "Tür/門", Payload: []byte{0}},
	}
	for i := range want {
		want[i].Position = wait(t, j.Append(want[i].Kind, want[i].Key, want[i].Payload))
	}
	got := collect(t, j, journal.Position{})
	if len(got) != len(want) {
		t.Fatalf("read %d entries, appended %d", len(got), len(want))
	}
	for i, e := range got {
		w := want[i]
		if e.Position != w.Position || e.Kind != w.Kind || e.Key != w.Key || string(e.Payload) != string(w.Payload) {
			t.Errorf("entry %d differs: %v kind %d, %d bytes; appended %v kind %d, %d bytes",
				i, e.Position, e.Kind, len(e.Payload), w.Position, w.Kind, len(w.Payload))
		}
	}
}

func testOrder(t *testing.T, impl Journal) {
	j := impl.Open(t, t.TempDir())
	defer closeJournal(t, j)
	futures := make([]journal.Future, 2000)
	for i := range futures {
		futures[i] = j.Append(1, "k", payload(0, i, 300))
	}
	last := wait(t, futures[len(futures)-1])
	before := journal.Position{}
	for i, f := range futures {
		select {
		case <-f.Done():
		default:
			t.Fatalf("entry %d is not resolved, though the last one is, at %v", i, last)
		}
		p := wait(t, f)
		if !before.Less(p) {
			t.Fatalf("entry %d is at %v, the one before at %v", i, p, before)
		}
		before = p
	}
}

func testWriters(t *testing.T, impl Journal) {
	const writers, each = 32, 50
	j := impl.Open(t, t.TempDir())
	defer closeJournal(t, j)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := range each {
				if _, err := j.Append(2, fmt.Sprint(w), payload(w, n, 40)).Wait(t.Context()); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	all.Wait()
	next := map[string]int{}
	for _, e := range collect(t, j, journal.Position{}) {
		var w int
		fmt.Sscan(e.Key, &w)
		if want := payload(w, next[e.Key], 40); string(e.Payload) != string(want) {
			t.Fatalf("at %v writer %d has %q, want %q", e.Position, w, e.Payload, want)
		}
		next[e.Key]++
	}
	for w := range writers {
		if n := next[fmt.Sprint(w)]; n != each {
			t.Errorf("writer %d has %d entries, want %d", w, n, each)
		}
	}
}

func testReopen(t *testing.T, impl Journal) {
	dir := t.TempDir()
	var want []journal.Position
	var epoch uint64
	for round := range 4 {
		j := impl.Open(t, dir)
		s := j.Stats()
		if s.Epoch <= epoch {
			t.Errorf("opening %d has epoch %d, the one before had %d", round, s.Epoch, epoch)
		}
		epoch = s.Epoch
		for n := range 5 {
			want = append(want, wait(t, j.Append(1, "k", payload(round, n, 500))))
		}
		closeJournal(t, j)
	}
	j := impl.Open(t, dir)
	defer closeJournal(t, j)
	got := collect(t, j, journal.Position{})
	if len(got) != len(want) {
		t.Fatalf("%d entries after reopening, want %d", len(got), len(want))
	}
	for i, e := range got {
		if e.Position != want[i] || string(e.Payload) != string(payload(i/5, i%5, 500)) {
			t.Errorf("entry %d is at %v with %.20q, was at %v", i, e.Position, e.Payload, want[i])
		}
	}
	if end := j.Stats().End; !want[len(want)-1].Less(end) {
		t.Errorf("the journal ends at %v, before its last entry %v", end, want[len(want)-1])
	}
}

// fill appends single entries until several trimmable pieces are full.
func fill(t *testing.T, j journal.Journal) []journal.Position {
	t.Helper()
	var at []journal.Position
	for n := range 120 {
		at = append(at, wait(t, j.Append(1, "k", payload(0, n, 4000))))
	}
	return at
}

func testReadFrom(t *testing.T, impl Journal) {
	j := impl.Open(t, t.TempDir())
	defer closeJournal(t, j)
	var at []journal.Position
	for range 30 {
		futures := make([]journal.Future, 40)
		for i := range futures {
			futures[i] = j.Append(1, "k", payload(0, len(at)+i, 700))
		}
		for _, f := range futures {
			at = append(at, wait(t, f))
		}
	}
	for i := 0; i < len(at); i += 37 {
		between := at[i] // or, for the first of a frame, the gap before it
		if between.Index == 0 {
			between = journal.Position{Frame: at[i].Frame - 1, Index: ^uint16(0)}
		}
		for _, from := range []journal.Position{at[i], between} {
			got := collect(t, j, from)
			if len(got) != len(at)-i || got[0].Position != at[i] {
				t.Fatalf("from %v came %d entries, want %d from %v on", from, len(got), len(at)-i, at[i])
			}
		}
	}
	if got := collect(t, j, at[len(at)-1].Next()); len(got) != 0 {
		t.Errorf("after the last entry came %d more", len(got))
	}
	for e, err := range j.Read(at[3]) {
		if err != nil || e.Position != at[3] {
			t.Fatalf("read %v, %v", e.Position, err)
		}
		break
	}
}

func testReadStill(t *testing.T, impl Journal) {
	j := impl.Open(t, t.TempDir())
	defer closeJournal(t, j)
	for n := range 3 {
		wait(t, j.Append(1, "k", payload(0, n, 10)))
	}
	seen := 0
	for _, err := range j.Read(journal.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		wait(t, j.Append(1, "k", payload(1, seen, 10)))
	}
	if seen != 3 {
		t.Errorf("saw %d entries, want the 3 that were durable when reading began", seen)
	}
}

func testCopies(t *testing.T, impl Journal) {
	j := impl.Open(t, t.TempDir())
	defer closeJournal(t, j)
	buf := []byte("as it was")
	f := j.Append(1, "k", buf)
	copy(buf, "scribbled")
	wait(t, f)
	if got := collect(t, j, journal.Position{}); string(got[0].Payload) != "as it was" {
		t.Errorf("kept %q", got[0].Payload)
	}
}

func testTooLarge(t *testing.T, impl Journal) {
	j := impl.Open(t, t.TempDir())
	defer closeJournal(t, j)
	if _, err := j.Append(1, string(make([]byte, journal.MaxKey+1)), nil).Wait(t.Context()); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("long key: %v", err)
	}
	if _, err := j.Append(1, "", make([]byte, journal.MaxPayload+1)).Wait(t.Context()); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("long payload: %v", err)
	}
	wait(t, j.Append(1, "k", nil))
	if got := collect(t, j, journal.Position{}); len(got) != 1 {
		t.Errorf("%d entries, want the one within bounds", len(got))
	}
}

func testWait(t *testing.T, impl Journal) {
	j := impl.Open(t, t.TempDir())
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := j.Wait(short, journal.Position{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("on an empty journal: %v", err)
	}
	next := wait(t, j.Append(1, "k", nil)).Next()
	woken := make(chan error, 1)
	go func() { woken <- j.Wait(t.Context(), next) }()
	p := wait(t, j.Append(1, "k", nil))
	if err := <-woken; err != nil {
		t.Errorf("woken with %v", err)
	}
	go func() { woken <- j.Wait(t.Context(), p.Next()) }()
	closeJournal(t, j)
	if err := <-woken; !errors.Is(err, journal.ErrClosed) {
		t.Errorf("at close: %v", err)
	}
}

func testTrim(t *testing.T, impl Journal) {
	dir := t.TempDir()
	j := impl.Open(t, dir)
	at := fill(t, j)
	full := j.Stats()
	cut := at[60]
	if err := j.Trim(cut); err != nil {
		t.Fatal(err)
	}
	s := j.Stats()
	if s.Files >= full.Files || s.Bytes >= full.Bytes {
		t.Errorf("trim left %d pieces of %d, %d bytes of %d", s.Files, full.Files, s.Bytes, full.Bytes)
	}
	check := func(when string) {
		got := collect(t, j, journal.Position{})
		if len(got) == len(at) || len(got) < 60 || got[len(got)-60].Position != cut {
			t.Errorf("%s: %d entries of %d are left, want fewer, but the last 60 whole", when, len(got), len(at))
		}
		if len(got) > 0 && got[0].Position.Less(s.First) {
			t.Errorf("%s: entry %v lies before the first retained, %v", when, got[0].Position, s.First)
		}
	}
	check("after trim")
	wait(t, j.Append(1, "k", nil))
	at, cut = append(at, journal.Position{}), at[61]
	closeJournal(t, j)
	j = impl.Open(t, dir)
	defer func() { closeJournal(t, j) }()
	check("after reopening")
	end := j.Stats().End
	if err := j.Trim(end); err != nil {
		t.Fatal(err)
	}
	p := wait(t, j.Append(1, "k", nil))
	if p.Less(end) {
		t.Errorf("after all was trimmed, position %v came again: the journal had ended at %v", p, end)
	}
	if err := j.Trim(journal.Position{}); err != nil {
		t.Errorf("trim of nothing: %v", err)
	}
}

func testFull(t *testing.T, impl Journal) {
	dir := t.TempDir()
	j := impl.Open(t, dir)
	at := fill(t, j)
	closeJournal(t, j)

	j = impl.OpenFull(t, dir)
	for range 3 {
		if _, err := j.Append(1, "k", payload(0, 0, 100)).Wait(t.Context()); !errors.Is(err, journal.ErrFull) {
			t.Fatalf("append on a full device: %v", err)
		}
	}
	if got := collect(t, j, journal.Position{}); len(got) != len(at) {
		t.Errorf("%d entries on a full device, want %d", len(got), len(at))
	}
	if err := j.Trim(at[100]); err != nil {
		t.Errorf("trim on a full device: %v", err)
	}
	select {
	case <-j.Fatal():
		t.Error("a full device ended the journal")
	default:
	}
	closeJournal(t, j)

	j = impl.Open(t, dir)
	defer closeJournal(t, j)
	p := wait(t, j.Append(1, "k", nil))
	got := collect(t, j, at[100])
	if len(got) != 21 || got[20].Position != p {
		t.Errorf("%d entries after room came back, want 21", len(got))
	}
}

func testClosed(t *testing.T, impl Journal) {
	j := impl.Open(t, t.TempDir())
	f := j.Append(1, "k", nil)
	closeJournal(t, j)
	wait(t, f)
	if err := j.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if _, err := j.Append(1, "k", nil).Wait(t.Context()); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("append: %v", err)
	}
	for _, err := range j.Read(journal.Position{}) {
		if !errors.Is(err, journal.ErrClosed) {
			t.Errorf("read: %v", err)
		}
	}
	if err := j.Trim(journal.Position{Frame: 1}); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("trim: %v", err)
	}
	if err := j.Wait(t.Context(), journal.Position{Frame: 99}); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("wait: %v", err)
	}
}
