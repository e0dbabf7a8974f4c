package hls_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

var videoTrack = &fragments.Track{
	ID: 1, Codec: fragments.H264, TimeScale: 90000, Width: 1280, Height: 720,
	Params: [][]byte{{0x67, 0x64, 0x00, 0x1f, 0xac}, {0x68, 0xee}},
}

var audioTrack = &fragments.Track{
	ID: 2, Codec: fragments.AAC, TimeScale: 48000, SampleRate: 48000, Channels: 2, Params: [][]byte{{0x11, 0x90}},
}

// add adds n fragments of 2 s, the first of them number from, at from*2 s after
// the creation.
func add(a *playbacktest.Archive, name fragments.StreamName, from, n int) {
	for i := from; i < from+n; i++ {
		at := time.Duration(i) * 2 * time.Second
		a.Add(name, &archive.Entry{
			Number:   fragments.Number{Epoch: 1, Counter: uint64(i)},
			Producer: fragments.ProducerTime(created.Add(at)), Server: fragments.ServerTime(created.Add(at)), Duration: 2 * time.Second,
			Runs: []archive.EntryRun{run(videoTrack, at, 2*time.Second, 500_000), run(audioTrack, at, 2*time.Second, 30_000)},
		}, nil, videoTrack, audioTrack)
	}
}

func live(track int) hls.Request {
	if track == 0 {
		return hls.Request{Kind: hls.Multivariant, Live: true}
	}
	return hls.Request{Kind: hls.Media, Live: true, Track: track}
}

func TestLiveWaitsForTheFirstFragment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := playbacktest.New()
		p := newPackager(t, a, hls.Options{StartTimeout: 10 * time.Second, Live: func(name fragments.StreamName) bool { return name == "front" }})
		begin := time.Now()
		go func() {
			time.Sleep(3 * time.Second) // live, but the archive does not know it yet
			a.Create("front", created)
			time.Sleep(3 * time.Second)
			add(a, "front", 0, 1)
		}()
		if _, err := p.Playlist(t.Context(), "front", live(0)); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begin); waited != 6*time.Second {
			t.Errorf("waited %v, want 6s", waited)
		}
	})
}

func TestLiveGivesUpWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := playbacktest.New()
		a.Create("front", created)
		a.Create("off", created)
		a.Recording("off", false)
		p := newPackager(t, a, hls.Options{StartTimeout: 10 * time.Second})
		for _, c := range []struct {
			name fragments.StreamName
			want error
			wait time.Duration
		}{
			{"front", hls.ErrNothing, 10 * time.Second},
			{"off", hls.ErrNothing, 0},
			{"nobody", archive.ErrNoStream, 0},
		} {
			begin := time.Now()
			_, err := p.Playlist(t.Context(), c.name, live(0))
			if waited := time.Since(begin); !errors.Is(err, c.want) || waited != c.wait {
				t.Errorf("%s: %v after %v, want %v after %v", c.name, err, waited, c.want, c.wait)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Playlist(ctx, "front", live(0)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a viewer who goes away: %v", err)
		}
	})
}

// A camera that comes back after a pause is not shown by its old pictures.
func TestLiveWaitsForANewFragment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := playbacktest.New()
		a.Create("front", created)
		add(a, "front", 0, 5)
		now := created.Add(time.Minute)
		p := newPackager(t, a, hls.Options{StartTimeout: 10 * time.Second, Now: func() time.Time { return now }})
		go func() {
			time.Sleep(4 * time.Second)
			add(a, "front", 30, 1)
		}()
		begin := time.Now()
		if _, err := p.Playlist(t.Context(), "front", live(0)); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begin); waited != 4*time.Second {
			t.Errorf("waited %v, want 4s", waited)
		}
		list, err := p.Playlist(t.Context(), "front", live(1))
		if err != nil || !strings.Contains(string(list), "#EXT-X-START:TIME-OFFSET=-2.000") {
			t.Errorf("%v:\n%s", err, list)
		}
	})
}

var sequence = regexp.MustCompile(`#EXT-X-MEDIA-SEQUENCE:(\d+)`)

// numbered returns the media sequence number of each segment of a playlist.
func numbered(tb testing.TB, list []byte) map[string]int {
	tb.Helper()
	m := sequence.FindSubmatch(list)
	if m == nil {
		tb.Fatalf("no media sequence:\n%s", list)
	}
	n, _ := strconv.Atoi(string(m[1]))
	numbers := map[string]int{}
	for line := range strings.Lines(string(list)) {
		if line[0] != '#' {
			numbers[strings.TrimSpace(line)] = n
			n++
		}
	}
	return numbers
}

// Many watch while fragments come in: every segment keeps its number in every
// playlist that shows it, and the playlists of a moment agree.
func TestManyWatchOneStream(t *testing.T) {
	a := playbacktest.New()
	a.Create("front", created)
	add(a, "front", 0, 1)
	now := created
	p := newPackager(t, a, hls.Options{MaxWindow: 20 * time.Second, Window: 20 * time.Second, Now: func() time.Time { return now }})
	var mu sync.Mutex
	known := map[string]int{}
	var watchers sync.WaitGroup
	stop := make(chan struct{})
	for w := range 4 {
		watchers.Go(func() {
			for {
				list, err := p.Playlist(context.Background(), "front", live(1+w%2))
				if err != nil {
					t.Error(err)
					return
				}
				for uri, n := range numbered(t, list) {
					mu.Lock()
					if before, ok := known[uri]; ok && before != n {
						t.Errorf("%s was number %d, is %d", uri, before, n)
					}
					known[uri] = n
					mu.Unlock()
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := 1; i < 200; i++ {
		add(a, "front", i, 1)
		if i%50 == 0 {
			a.Delete("front", 20)
		}
	}
	close(stop)
	watchers.Wait()
	list, err := p.Playlist(context.Background(), "front", live(1))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(numbered(t, list)); n != 10 {
		t.Errorf("%d segments in a window of 20 s, want 10", n)
	}
	if len(known) < 10 {
		t.Errorf("only %d segments seen", len(known))
	}
}

// When the cache is lost, by a restart or for want of room, numbers do not go
// back.
func TestNumbersNeverGoBack(t *testing.T) {
	a := playbacktest.New()
	a.Create("front", created)
	highest := -1
	for i := range 30 {
		add(a, "front", i*10, 10)
		p := newPackager(t, a, hls.Options{MaxWindow: 20 * time.Second, Window: 20 * time.Second})
		list, err := p.Playlist(context.Background(), "front", live(1))
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(string(sequence.FindSubmatch(list)[1]))
		if n <= highest {
			t.Errorf("a playlist begins at %d after one at %d", n, highest)
		}
		highest = n + 10
	}
}

func TestCachesAreBounded(t *testing.T) {
	a := playbacktest.New()
	a.Create("front", created)
	add(a, "front", 0, 300)
	p := newPackager(t, a, hls.Options{MaxRows: 2000, Now: func() time.Time { return created.Add(time.Hour) }})
	rangeOf := func(i int) hls.Request {
		r := playback.Range{Start: created.Add(time.Duration(i) * time.Second), End: created.Add(10 * time.Minute)}
		return hls.Request{Kind: hls.Media, Range: r, Track: 1}
	}
	var first string
	for i := range 50 {
		list, err := p.Playlist(context.Background(), "front", rangeOf(i))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = string(list)
		}
	}
	if n, rows := p.Cached(); n > 10 || rows > 2000 {
		t.Errorf("%d timelines with %d rows are kept", n, rows)
	}
	if again, err := p.Playlist(context.Background(), "front", rangeOf(0)); err != nil || string(again) != first {
		t.Errorf("a playlist made anew differs: %v", err)
	}
	// Requests for what is not there leave nothing behind.
	before, _ := p.Cached()
	for i := range 100 {
		if _, err := p.Playlist(context.Background(), fragments.StreamName(fmt.Sprint("no", i)), live(0)); err == nil {
			t.Fatal("no error")
		}
	}
	if n, _ := p.Cached(); n > before {
		t.Errorf("%d timelines are kept, %d before", n, before)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []hls.Options{
		{Window: time.Millisecond},
		{Window: time.Hour, MaxWindow: time.Minute},
		{MaxSegments: 3},
		{GapTolerance: -1},
		{StartTimeout: -1},
		{EndGrace: -1},
		{MaxRows: -1},
	} {
		if _, err := hls.New(playbacktest.New(), o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	if _, err := hls.New(playbacktest.New(), hls.Options{}); err != nil {
		t.Error(err)
	}
}
