package dash_test

import (
	"bufio"
	"context"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	memory "github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback/dash"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

var rewrite = flag.Bool("rewrite", false, "write what the manifests are into testdata, instead of comparing")

// TestScripts runs testdata/*.txt. A script tells what is recorded, and asks
// for manifests; what they must be follows the line "----" and ends with an empty
// line:
//
//	stream NAME TIME               created at that time; the clock stands there
//	track LETTER ID CODEC [WxH] [RATE CHANNELS]
//	                               declares a track, or its new configuration
//	frag DURATION [OPTION]...      the next fragment, from where the last one ended:
//	     x=N                       N of them
//	     gap=D                     D after its end, or before it
//	     -a                        nothing of track a
//	     dep, disc                 dependent, marked as a discontinuity
//	     late=D                    its audio begins that much later
//	memory                         as frag, but in memory alone; it takes no option but x
//	reorder D                      pictures are presented D after they are decoded
//	lag D                          fragments arrive D after they were filmed
//	skew D                         the producer's clock is set forward, or back
//	epoch N                        of the numbers that follow
//	ended, deleted N
//	restart                        what is remembered of Periods is lost
//	get PATH                       a manifest; an error is shown as such
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScript(t, file) })
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
	t        *testing.T
	archive  *playbacktest.Archive
	hub      *memory.Hub
	pub      *memory.Publisher
	segments *hls.Packager
	packager *dash.Packager
	name     fragments.StreamName
	created  time.Time
	now      time.Time
	at       time.Duration // where the next fragment begins, since the creation
	reorder  time.Duration
	lag      time.Duration
	skew     time.Duration
	number   fragments.Number
	letters  []string
	tracks   map[string]*fragments.Track
	output   string
}

func newScript(t testing.TB) *script {
	s := &script{archive: playbacktest.New(), hub: memory.New(), number: fragments.Number{Epoch: 1}, lag: 200 * time.Millisecond, tracks: map[string]*fragments.Track{}}
	s.t, _ = t.(*testing.T)
	var err error
	s.segments, err = hls.New(s.archive, hls.Options{Hub: s.hub, Now: func() time.Time { return s.now }, StartTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s.forget()
	return s
}

func (s *script) forget() {
	var err error
	if s.packager, err = dash.New(s.segments, dash.Options{}); err != nil {
		panic(err)
	}
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
		s.name, s.created = fragments.StreamName(f[1]), must(time.Parse(time.RFC3339, f[2]))
		s.now = s.created
		s.archive.Create(s.name, s.created)
	case "track":
		s.declare(f[1:])
	case "frag":
		s.frag(f[1:])
	case "memory":
		s.memory(f[1:])
	case "reorder":
		s.reorder = duration(f[1])
	case "lag":
		s.lag = duration(f[1])
	case "skew":
		s.skew = duration(f[1])
	case "epoch":
		s.number = fragments.Number{Epoch: uint64(integer(f[1]))}
	case "ended":
		s.archive.Recording(s.name, false)
	case "deleted":
		s.archive.Delete(s.name, integer(f[1]))
	case "restart":
		s.forget()
	case "get":
		s.get(f[1])
	default:
		panic("unknown command")
	}
}

func (s *script) get(path string) {
	text, err := s.manifest(path)
	if s.output = string(text); err != nil {
		s.output = "error: " + err.Error() + "\n"
		return
	}
	for _, broken := range check(text) {
		s.t.Errorf("%s: %s in\n%s", path, broken, text)
	}
}

func (s *script) manifest(path string) ([]byte, error) {
	u, err := url.Parse(path)
	if err != nil {
		panic(err)
	}
	r, err := dash.ParseRequest(u.Path, u.Query())
	if err != nil {
		return nil, err
	}
	r.Token = u.Query().Get("token")
	l, err := s.packager.Manifest(context.Background(), s.name, r)
	if err != nil {
		return nil, err
	}
	return l.Text, nil
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

// options of a fragment.
type options struct {
	times     int
	gap, late time.Duration
	without   map[string]bool
	dep, disc bool
}

func parseOptions(f []string) options {
	o := options{times: 1, without: map[string]bool{}}
	for _, opt := range f {
		key, value, _ := strings.Cut(opt, "=")
		switch {
		case key == "x":
			o.times = integer(value)
		case key == "gap":
			o.gap = duration(value)
		case key == "dep":
			o.dep = true
		case key == "disc":
			o.disc = true
		case key == "late":
			o.late = duration(value)
		case strings.HasPrefix(key, "-"):
			o.without[key[1:]] = true
		default:
			panic(opt + " is unknown")
		}
	}
	return o
}

func (s *script) frag(f []string) {
	length, o := duration(f[0]), parseOptions(f[1:])
	for range o.times {
		s.at += o.gap
		s.number.Counter++
		e := archive.Entry{
			Object: s.number.String(), Number: s.number, Duration: length, Dependent: o.dep, Discontinuity: o.disc,
			Producer: fragments.ProducerTime(s.created.Add(s.at + s.reorder + s.skew)),
			Server:   fragments.ServerTime(s.created.Add(s.at + s.reorder + s.lag)),
		}
		var tracks []*fragments.Track
		var data []byte
		for _, letter := range s.letters {
			t := s.tracks[letter]
			if o.without[letter] {
				continue
			}
			at, length := s.at, length
			if t.Kind() == fragments.KindAudio {
				at, length = at+o.late, length-o.late
			}
			if s.reorder > 0 && t.Kind() == fragments.KindVideo {
				c := *t
				c.Reorder = 2
				t = &c
			}
			run, bytes := s.run(t, at, length)
			run.Offset, run.Size = int64(len(data)), int64(len(bytes))
			data = append(data, bytes...)
			tracks, e.Runs = append(tracks, t), append(e.Runs, run)
		}
		s.at += length
		s.archive.Add(s.name, &e, data, tracks...)
		s.now = s.created.Add(s.at + s.lag)
	}
}

// run makes the run of a track from at on: 25 frames of video per second, audio
// in frames of 1,024 samples that begin within the span; 100 bytes each.
func (s *script) run(t *fragments.Track, at, length time.Duration) (archive.EntryRun, []byte) {
	step := int64(t.TimeScale / 25)
	if t.Kind() == fragments.KindAudio {
		step = 1024
	}
	frame := func(d time.Duration) int64 { return (archive.Ticks(d, t.TimeScale) + step - 1) / step }
	first, n := frame(at), frame(at+length)-frame(at)
	samples := make([]fragments.Sample, n)
	for i := range samples {
		samples[i] = fragments.Sample{Duration: uint32(step), Key: i == 0, Payload: [][]byte{make([]byte, 96)}}
		if t.Kind() == fragments.KindVideo {
			samples[i].Offset = uint32(archive.Ticks(s.reorder, t.TimeScale))
		}
	}
	return archive.EntryRun{
		Track: t.ID, Config: t.Hash(), Kind: t.Kind(), TimeScale: t.TimeScale,
		DecodeTime: first * step, Duration: n * step, Samples: int(n),
	}, cmaf.AppendPart(nil, t, 1, first*step, samples)
}

// memory publishes fragments of 2 s that the archive does not show.
func (s *script) memory(f []string) {
	const length = 2 * time.Second
	var tracks []*fragments.Track
	for _, letter := range s.letters {
		tracks = append(tracks, s.tracks[letter])
	}
	if s.pub == nil {
		s.pub = s.hub.Publish(s.name, tracks)
	}
	for range parseOptions(f).times {
		s.number.Counter++
		f := &fragments.Fragment{
			Number: s.number, Duration: length,
			Producer: fragments.ProducerTime(s.created.Add(s.at)), Server: fragments.ServerTime(s.created.Add(s.at + s.lag)),
		}
		s.pub.Begin(f)
		for _, t := range tracks {
			run, data := s.run(t, s.at, length)
			p := &fragments.Part{
				Track: t, DecodeTime: run.DecodeTime, Duration: run.Duration, Samples: make([]fragments.Sample, run.Samples),
				Independent: true, Data: data,
			}
			f.Runs = append(f.Runs, fragments.Run{Track: t, DecodeTime: p.DecodeTime, Duration: p.Duration, Samples: run.Samples, Bytes: len(data), Parts: []*fragments.Part{p}})
			s.pub.Part(f, p)
		}
		s.pub.End(f)
		s.at += length
		s.now = s.created.Add(s.at + s.lag)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func duration(s string) time.Duration { return must(time.ParseDuration(s)) }

func integer(s string) int { return must(strconv.Atoi(s)) }
