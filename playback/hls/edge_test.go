package hls_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	memory "github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

// hangingArchive answers from its catalog and index of the newest, and never
// from its bucket.
type hangingArchive struct {
	*playbacktest.Archive
}

func (hangingArchive) Fragments(ctx context.Context, _ fragments.StreamName, _ fragments.Selector) iter.Seq2[*archive.Entry, error] {
	return func(yield func(*archive.Entry, error) bool) {
		<-ctx.Done()
		yield(nil, ctx.Err())
	}
}

func (hangingArchive) Entry(ctx context.Context, _ fragments.StreamName, _ fragments.Number) (*archive.Entry, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hangingArchive) ReadRun(ctx context.Context, _ fragments.StreamName, _ *archive.Entry, _ int) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// slowSink commits each fragment in so long; those that fails says are lost.
type slowSink struct {
	a     *playbacktest.Archive
	takes time.Duration
	fails func(fragments.Number) bool
	mu    sync.Mutex
	last  fragments.Number
}

func (s *slowSink) Open(_ context.Context, name fragments.StreamName) (fragments.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = fragments.Number{Epoch: s.last.Epoch + 1}
	info, err := s.a.Stream(name)
	if err != nil {
		info.Created = time.Now()
		s.a.Create(name, info.Created)
	}
	return fragments.Lease{Stream: name, Epoch: s.last.Epoch, Created: info.Created}, nil
}

func (s *slowSink) Begin(fragments.Lease) (fragments.Number, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last.Counter++
	return s.last, nil
}

func (s *slowSink) Commit(ctx context.Context, l fragments.Lease, f *fragments.Fragment) error {
	t := time.NewTimer(s.takes)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.fails != nil && s.fails(f.Number) {
		return errors.New("disk full")
	}
	e, data := entry(f), []byte(nil)
	e.Object = f.Number.String()
	for i := range f.Runs {
		e.Runs[i].Offset = int64(len(data))
		for _, p := range f.Runs[i].Parts {
			data = append(data, p.Data...)
		}
	}
	s.a.Add(l.Stream, e, data, trackList(f)...)
	return nil
}

func (s *slowSink) Abort(fragments.Lease, fragments.Number) {}

func (s *slowSink) Close(_ context.Context, l fragments.Lease) error {
	return nil
}

// camera publishes 25 frames per second with a key frame each second, and sound.
func publish(ctx context.Context, s *ingest.Session) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	nal, frame := make([]byte, 2000), make([]byte, 200)
	nal[0] = 0x41
	sound := int64(0)
	for i := int64(0); ctx.Err() == nil; i++ {
		now := time.Now()
		write := func(t *fragments.Track, pts int64, key bool, payload []byte, at time.Time) {
			s.Write(&fragments.AccessUnit{
				Track: t, PTS: pts, DTS: fragments.NoDTS, Key: key, Payload: [][]byte{payload},
				Capture: fragments.ProducerTime(at), Arrival: fragments.ServerTime(now), Source: fragments.FromReport,
			})
		}
		if i%2 == 0 {
			write(videoTrack, i*1800, i%50 == 0, nal, now)
		}
		for ; sound*1024 <= i*960; sound++ {
			write(audioTrack, sound*1024, true, frame, now.Add(-time.Duration(i*960-sound*1024)*time.Second/48000))
		}
		<-tick.C
	}
}

// edge is the end of a playlist.
type edge struct {
	msn, part int // of the segment that is open or comes next, and of its last part: -1 before the first
	at        time.Time
	uris      []string // of parts and segments
	gaps      int
}

func parseEdge(tb testing.TB, list []byte) (e edge) {
	tb.Helper()
	at := func(s string) float64 {
		v, err := strconv.ParseFloat(strings.TrimRight(s, ",\n"), 64)
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
	var begin time.Time
	length, inParts := 0.0, 0
	for line := range strings.Lines(string(list)) {
		line = strings.TrimSpace(line)
		value := line[strings.IndexByte(line, ':')+1:]
		switch {
		case strings.HasPrefix(line, "#EXT-X-MEDIA-SEQUENCE:"):
			e.msn, _ = strconv.Atoi(value)
		case strings.HasPrefix(line, "#EXT-X-PROGRAM-DATE-TIME:"):
			begin, _ = time.Parse(time.RFC3339, value)
			length = 0
		case strings.HasPrefix(line, "#EXT-X-PART:"):
			d, rest, _ := strings.Cut(strings.TrimPrefix(value, "DURATION="), `,URI="`)
			uri, _, _ := strings.Cut(rest, `"`)
			e.uris = append(e.uris, uri)
			length += at(d)
			inParts++
		case strings.HasPrefix(line, "#EXT-X-SKIP:SKIPPED-SEGMENTS="):
			n, _ := strconv.Atoi(value[len("SKIPPED-SEGMENTS="):])
			e.msn += n
		case line == "#EXT-X-GAP":
			e.gaps++
		case strings.HasPrefix(line, "#EXTINF:"):
			length = at(value)
		case line != "" && line[0] != '#':
			e.uris = append(e.uris, line)
			e.msn++
			inParts = 0
		}
	}
	e.part = inParts - 1
	e.at = begin.Add(time.Duration(length * float64(time.Second)))
	return e
}

func ask(tb testing.TB, p *hls.Packager, name fragments.StreamName, ref string) (hls.Request, *url.URL) {
	tb.Helper()
	u, err := url.Parse(ref)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := hls.ParseRequest(u.Path, u.Query())
	if err != nil {
		tb.Fatalf("%s: %v", ref, err)
	}
	return r, u
}

// follow reloads a live playlist as soon as it may, as low-latency players do,
// until ctx ends, and returns the largest lag of its end behind now. It fetches
// everything the playlist names.
func follow(ctx context.Context, t *testing.T, p *hls.Packager, name fragments.StreamName, track int) (worst time.Duration, gaps int) {
	fetched := map[string]bool{}
	query := ""
	for ctx.Err() == nil {
		r, _ := ask(t, p, name, "live-"+strconv.Itoa(track)+".m3u8"+query)
		list, err := p.List(ctx, name, r)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			t.Errorf("%s: %v", query, err)
			return worst, gaps
		}
		e := parseEdge(t, list.Text)
		worst = max(worst, time.Since(e.at))
		gaps = max(gaps, e.gaps)
		for _, uri := range e.uris {
			if fetched[uri] {
				continue
			}
			fetched[uri] = true
			r, _ := ask(t, p, name, uri)
			if c, err := p.Content(ctx, name, r); err != nil || len(c.Data) == 0 {
				t.Errorf("%s: %v", uri, err)
			}
		}
		query = "?_HLS_msn=" + strconv.Itoa(e.msn) + "&_HLS_part=" + strconv.Itoa(e.part+1) + "&_HLS_skip=YES"
	}
	return worst, gaps
}

// The live edge does not wait for the disk or the bucket, whatever they do.
func TestLiveEdgeNeverWaits(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration
		hangs bool
		fails func(fragments.Number) bool
	}{
		{"quick", 5 * time.Millisecond, false, nil},
		{"slow disk", 5 * time.Second, false, nil},
		{"bucket hangs", 5 * time.Millisecond, true, nil},
		{"disk hangs", time.Hour, true, nil},
		{"disk full", 5 * time.Millisecond, false, func(fragments.Number) bool { return true }},
		{"disk full at times", 5 * time.Millisecond, false, func(n fragments.Number) bool { return n.Counter%7 > 3 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := playbacktest.New()
				sink := &slowSink{a: a, takes: c.takes, fails: c.fails}
				hub := memory.New()
				sessions := ingest.New(ingest.Options{Hub: hub, Sink: sink, Logger: slog.New(slog.DiscardHandler), Cut: fragments.FragmenterOptions{
					Encode: func(t *fragments.Track, sequence uint32, decodeTime int64, samples []fragments.Sample) []byte {
						return cmaf.AppendPart(nil, t, sequence, decodeTime, samples)
					},
				}})
				var src hls.Archive = a
				if c.hangs {
					src = hangingArchive{a}
				}
				p := newPackager(t, src, hls.Options{Hub: hub, Now: time.Now})
				s, err := sessions.Publish("front", []*fragments.Track{videoTrack, audioTrack}, ingest.Source{}, nil)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var all sync.WaitGroup
				all.Go(func() { publish(ctx, s) })
				var lags [2]time.Duration
				for i := range lags {
					all.Go(func() {
						time.Sleep(time.Duration(3+4*i) * time.Second) // the first one waits for what hangs
						within, cancel := context.WithTimeout(ctx, 25*time.Second)
						defer cancel()
						lags[i], _ = follow(within, t, p, "front", i+1)
					})
				}
				all.Go(func() { // looks in from time to time: what came meanwhile is in memory
					for time.Sleep(10 * time.Second); ctx.Err() == nil; time.Sleep(6 * time.Second) {
						asked := time.Now()
						list, err := p.List(ctx, "front", hls.Request{Kind: hls.Media, Live: true, Track: 1, Window: 30 * time.Second})
						if err != nil {
							t.Errorf("at %v: %v", asked, err)
							return
						}
						// Who joins gets the newest part when it comes, and waits for nothing else.
						behind := time.Since(parseEdge(t, list.Text).at)
						if waited := time.Since(asked); waited > 216*time.Millisecond || behind > 100*time.Millisecond {
							t.Errorf("at %v: answered after %v, %v behind", asked, waited, behind)
						}
					}
				})
				all.Wait()
				t.Logf("the live edge was at most %v behind", lags)
				for i, lag := range lags {
					// A part, the frame that is held to learn its duration, and a frame of the
					// other track.
					if lag > 300*time.Millisecond || lag == 0 {
						t.Errorf("track %d: the live edge was %v behind", i+1, lag)
					}
				}
				s.Close(nil)
				sessions.Close()
			})
		})
	}
}
