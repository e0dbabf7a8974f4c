package hls_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	memory "github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

var rewrite = flag.Bool("rewrite", false, "write what the playlists are into testdata, instead of comparing")

// TestScripts runs testdata/*.txt. A script tells what is recorded, and asks
// for playlists; what they must be follows the line "----" and ends with an
// empty line:
//
//	stream NAME TIME               created at that time; the clock stands there
//	track LETTER ID CODEC [WxH] [RATE CHANNELS]
//	                               declares a track, or its new configuration
//	frag DURATION [OPTION]...      the next fragment, from where the last one ended:
//	     x=N                       N of them
//	     gap=D                     D after its end, or before it
//	     -a                        nothing of track a
//	     v=N                       track v has N bytes; else 1 Mbit/s, audio 64 kbit/s
//	     dep, disc                 dependent, marked as a discontinuity
//	     late=D, short=D           its audio begins that much later, ends that much earlier
//	reorder D                      frames are presented D after they are decoded
//	lag D                          fragments arrive D after they were filmed
//	epoch N                        of the numbers that follow
//	now D                          the clock stands D after the creation; else at the end of the newest fragment
//	ended, deleted N, recreate TIME
//	publish, leave                 a session begins, ends
//	begin [gap=D] [dep] [disc]     a fragment opens, live
//	part [x=N] [long=D] [-a]       N parts of it, 200 ms or D long, without those of track a
//	end                            it closes
//	live [N]                       N fragments of five parts
//	shown [N], dropped [N]         the archive shows the oldest N that are closed, or never will
//	get PATH                       a playlist; an error is shown as such
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runScript(t, file) })
		})
	}
}

func runScript(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t)
	var out strings.Builder
	lines := bufio.NewScanner(strings.NewReader(string(data)))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line != "----" {
			out.WriteString(line + "\n")
			s.command(file, n, line)
			continue
		}
		var want strings.Builder
		for lines.Scan() && lines.Text() != "" {
			want.WriteString(lines.Text() + "\n")
			n++
		}
		n++
		if got := s.output; !*rewrite && got != want.String() {
			t.Errorf("%s:%d: got\n%s\nwant\n%s", file, n, got, want.String())
		}
		out.WriteString("----\n" + s.output + "\n")
		s.output = ""
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(strings.TrimRight(out.String(), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// script is a stream that is being told.
type script struct {
	t        testing.TB
	archive  *playbacktest.Archive
	packager *hls.Packager
	name     fragments.StreamName
	created  time.Time
	now      time.Time
	at       time.Duration // where the next fragment begins, since the creation
	reorder  time.Duration
	lag      time.Duration
	number   fragments.Number
	letters  []string
	tracks   map[string]*fragments.Track
	output   string
	live     liveScript
}

func newScript(t testing.TB) *script {
	s := &script{t: t, archive: playbacktest.New(), number: fragments.Number{Epoch: 1}, lag: time.Second, tracks: map[string]*fragments.Track{}}
	s.live.hub = memory.New()
	var err error
	s.packager, err = hls.New(s.archive, hls.Options{Hub: s.live.hub, Now: func() time.Time { return s.now }, MaxSegments: 1000, StartTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *script) command(file string, n int, line string) {
	f := strings.Fields(line)
	if len(f) == 0 || strings.HasPrefix(line, "#") {
		return
	}
	defer func() {
		if err := recover(); err != nil {
			s.t.Fatalf("%s:%d: %q: %v", file, n, line, err)
		}
	}()
	switch f[0] {
	case "stream":
		s.name, s.created = fragments.StreamName(f[1]), clock(f[2])
		s.now = s.created
		s.archive.Create(s.name, s.created)
	case "recreate":
		s.created, s.now, s.at, s.number = clock(f[1]), clock(f[1]), 0, fragments.Number{Epoch: 1}
		s.archive.Create(s.name, s.created)
	case "track":
		s.declare(f[1:])
	case "frag":
		s.frag(f[1:])
	case "reorder":
		s.reorder = duration(f[1])
	case "lag":
		s.lag = duration(f[1])
	case "epoch":
		s.number = fragments.Number{Epoch: uint64(integer(f[1]))}
	case "now":
		s.now = s.created.Add(duration(f[1]))
	case "ended":
		s.archive.Recording(s.name, false)
	case "deleted":
		s.archive.Delete(s.name, integer(f[1]))
	case "publish", "leave", "begin", "part", "end", "live", "shown", "dropped":
		s.liveCommand(f)
	case "get":
		s.get(f[1])
	default:
		panic("unknown command")
	}
}

func (s *script) get(path string) {
	u, err := url.Parse(path)
	if err != nil {
		panic(err)
	}
	r, err := hls.ParseRequest(u.Path, u.Query())
	var b []byte
	if err == nil {
		r.Token = u.Query().Get("token")
		b, err = s.packager.Playlist(context.Background(), s.name, r)
	}
	if s.output = string(b); err != nil {
		s.output = "error: " + err.Error() + "\n"
	} else if r.Kind == hls.Media && !r.Ahead.Skip {
		s.view(path, r)
	}
}

// view compares the view of a media playlist with its text.
func (s *script) view(path string, r hls.Request) {
	v, err := s.packager.View(context.Background(), s.name, r)
	if err != nil {
		s.t.Errorf("view of %s: %v", path, err)
		return
	}
	k := slices.IndexFunc(v.Tracks, func(t hls.ViewTrack) bool { return t.ID == r.Track })
	if k < 0 {
		return // it cannot be played, or is gone
	}
	base := string(v.AppendBase(nil))
	var want, got []string
	gap, maps := false, 0
	for line := range strings.Lines(s.output) {
		switch line = strings.TrimSpace(line); {
		case line == "#EXT-X-GAP":
			gap = true
		case strings.HasPrefix(line, "#EXT-X-MAP:"):
			uri := strings.TrimSuffix(strings.TrimPrefix(line, `#EXT-X-MAP:URI="`), `"`)
			for c := range v.Tracks[k].Configs {
				if base+string(v.AppendInit(nil, k, c)) == uri {
					maps++
				}
			}
		case line != "" && line[0] != '#':
			if !gap {
				want = append(want, line)
			}
			gap = false
		}
	}
	for i := v.From; i < len(v.Rows); i++ {
		if name := v.AppendSegment(nil, k, i); len(name) > 0 {
			got = append(got, base+string(name))
		}
	}
	if !slices.Equal(got, want) || maps < strings.Count(s.output, "#EXT-X-MAP:") {
		s.t.Errorf("view of %s names\n%s\nthe playlist\n%s", path, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(s.output, fmt.Sprintf("#EXT-X-MEDIA-SEQUENCE:%d\n", v.Sequence+int64(v.From))) {
		s.t.Errorf("view of %s begins at %d", path, v.Sequence)
	}
}

func (s *script) declare(f []string) {
	t := &fragments.Track{ID: integer(f[1]), Codec: fragments.Codec(f[2]), TimeScale: 90000}
	switch t.Kind() {
	case fragments.KindVideo:
		w, h, _ := strings.Cut(f[3], "x")
		t.Width, t.Height = integer(w), integer(h)
		t.Params = [][]byte{{0x67, 0x64, 0x00, 0x1f, 0xac, byte(t.Width), byte(t.Width >> 8)}, {0x68, 0xee}}
	case fragments.KindAudio:
		t.SampleRate, t.Channels = integer(f[3]), integer(f[4])
		t.TimeScale = uint32(t.SampleRate)
		if t.Codec == fragments.AAC {
			t.Params = [][]byte{{0x11, 0x80 | byte(t.Channels<<3)}} // LC, 48 kHz
		}
	}
	if s.tracks[f[0]] == nil {
		s.letters = append(s.letters, f[0])
	}
	s.tracks[f[0]] = t
}

func (s *script) frag(f []string) {
	length, times, gap := duration(f[0]), 1, time.Duration(0)
	without, bytes := map[string]bool{}, map[string]int64{}
	var late, short time.Duration
	e := archive.Entry{Object: "o"}
	for _, opt := range f[1:] {
		key, value, _ := strings.Cut(opt, "=")
		switch {
		case key == "x":
			times = integer(value)
		case key == "gap":
			gap = duration(value)
		case key == "dep":
			e.Dependent = true
		case key == "disc":
			e.Discontinuity = true
		case key == "late":
			late = duration(value)
		case key == "short":
			short = duration(value)
		case strings.HasPrefix(key, "-"):
			without[key[1:]] = true
		default:
			bytes[key] = int64(integer(value))
		}
	}
	for range times {
		s.at += gap
		next := e
		s.number.Counter++
		next.Number = s.number
		next.Producer = fragments.ProducerTime(s.created.Add(s.at + s.reorder))
		next.Server = fragments.ServerTime(s.created.Add(s.at + s.lag))
		next.Duration = length
		var tracks []*fragments.Track
		for _, letter := range s.letters {
			if t := s.tracks[letter]; !without[letter] {
				tracks = append(tracks, t)
				at, length := s.at, length
				if t.Kind() == fragments.KindAudio {
					at, length = at+late, length-late-short
				}
				next.Runs = append(next.Runs, run(t, at, length, bytes[letter]))
			}
		}
		s.at += length
		s.archive.Add(s.name, &next, nil, tracks...)
		s.now = s.created.Add(s.at + s.lag)
	}
}

// run makes the run of a track from at on: 25 frames of video per second, audio
// in frames of 1,024 samples that begin within the span.
func run(t *fragments.Track, at, length time.Duration, bytes int64) archive.EntryRun {
	step, rate := int64(t.TimeScale/25), int64(125_000)
	if t.Kind() == fragments.KindAudio {
		step, rate = 1024, 8_000
	}
	frame := func(d time.Duration) int64 { return (archive.Ticks(d, t.TimeScale) + step - 1) / step }
	first, n := frame(at), frame(at+length)-frame(at)
	if bytes == 0 {
		bytes = rate * int64(length) / int64(time.Second)
	}
	return archive.EntryRun{
		Track: t.ID, Config: t.Hash(), Kind: t.Kind(), TimeScale: t.TimeScale,
		DecodeTime: first * step, Duration: n * step, Samples: int(n), Size: bytes,
	}
}

func clock(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}

func integer(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(fmt.Sprintf("%q is no number", s))
	}
	return n
}
