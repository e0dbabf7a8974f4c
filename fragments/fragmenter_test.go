package fragments

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write the output of the scripts into them")

// TestFragmenterScripts runs testdata/fragmenter/*.txt. A script lists tracks,
// options and runs of access units; below the line of dashes stands what comes
// out. `go test ./fragments -rewrite` writes that part anew.
//
//	track ID CODEC TIMESCALE [reorder=N]
//	options min=1s max=4s bytes=N part=200ms gap=3s created=1s
//	push TRACK from=CAPTURE n=COUNT every=DUR [key=N] [size=N] [ticks=PTS] [b=N]
//	     [dts] [skew=PPM] [source=report] [config=N] [late=DUR] [arrive=DUR] [duration=TICKS]
//	order matters: the result may depend on how the tracks interleave
func TestFragmenterScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/fragmenter/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("scripts: %d, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := bytes.Cut(text, []byte("----\n"))
			s := parseScript(t, string(input))
			got := s.run(t, s.feed(0, 0))
			if *rewrite {
				if err := os.WriteFile(file, slices.Concat(input, []byte("----\n"), []byte(got)), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if s.orderMatters {
				return
			}
			for seed := range uint64(20) {
				if again := s.run(t, s.feed(150*time.Millisecond, seed)); again != got {
					t.Fatalf("seed %d: other interleaving, other fragments:\n%s\nwant:\n%s", seed, again, got)
				}
			}
		})
	}
}

var scriptEpoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

type script struct {
	tracks       []*Track
	options      FragmenterOptions
	units        []timedUnit
	orderMatters bool
}

type timedUnit struct {
	au *AccessUnit
	at time.Duration // when it is fed
}

func parseScript(t *testing.T, text string) *script {
	s := &script{options: FragmenterOptions{Created: scriptEpoch}}
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		args := map[string]string{}
		for _, a := range f[1:] {
			k, v, _ := strings.Cut(a, "=")
			args[k] = v
		}
		switch f[0] {
		case "order":
			s.orderMatters = true
		case "track":
			id, scale := atoi(t, f[1]), atoi(t, f[3])
			tr := &Track{ID: id, Codec: Codec(f[2]), TimeScale: uint32(scale), Reorder: -1}
			if v, ok := args["reorder"]; ok {
				tr.Reorder = atoi(t, v)
			}
			s.tracks = append(s.tracks, tr)
		case "options":
			s.options.MinDuration = dur(t, args["min"])
			s.options.MaxDuration = dur(t, args["max"])
			s.options.PartDuration = dur(t, args["part"])
			s.options.MaxGap = dur(t, args["gap"])
			s.options.MaxBytes = atoi(t, args["bytes"])
			s.options.Created = s.options.Created.Add(dur(t, args["created"]))
		case "push":
			s.push(t, atoi(t, f[1]), args)
		default:
			t.Fatalf("line %d: %q", n+1, line)
		}
	}
	return s
}

func atoi(t *testing.T, s string) int {
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func dur(t *testing.T, s string) time.Duration {
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// push generates a run of access units in decode order. With b=N, N frames
// are presented between each two reference frames and decoded after the second.
func (s *script) push(t *testing.T, id int, args map[string]string) {
	i := slices.IndexFunc(s.tracks, func(tr *Track) bool { return tr.ID == id })
	track := s.tracks[i]
	if v, ok := args["config"]; ok {
		c := *track
		c.Params = [][]byte{[]byte(v)}
		track = &c
	}
	scale := int64(track.TimeScale)
	from, every := dur(t, args["from"]), dur(t, args["every"])
	arrive := from
	if v, ok := args["arrive"]; ok {
		arrive = dur(t, v)
	}
	n, key, b := atoi(t, args["n"]), atoi(t, args["key"]), atoi(t, args["b"])
	size := max(atoi(t, args["size"]), 8)
	ticks := scaleTicks(int64(from), scale)
	if v, ok := args["ticks"]; ok {
		ticks = int64(atoi(t, v))
	}
	for i := range n {
		present := i // place in order of presentation
		if b > 0 && i > 0 {
			if group, k := (i-1)/(b+1), (i-1)%(b+1); k == 0 {
				present = group*(b+1) + b + 1
			} else {
				present = group*(b+1) + k
			}
		}
		offset := time.Duration(present) * every
		au := &AccessUnit{
			Track: track, DTS: NoDTS, Duration: int64(atoi(t, args["duration"])),
			PTS:     ticks + scaleTicks(int64(offset)*int64(1_000_000+atoi(t, args["skew"]))/1_000_000, scale),
			Capture: ProducerTime(scriptEpoch.Add(from + offset)),
			Arrival: ServerTime(scriptEpoch.Add(arrive + time.Duration(i)*every + 30*time.Millisecond)),
			Key:     track.Kind() != KindVideo || key > 0 && i%key == 0 || key == 0 && i == 0 && args["key"] == "",
		}
		if _, ok := args["dts"]; ok {
			au.DTS = ticks + scaleTicks(int64(i-1)*int64(every), scale)
		}
		if args["source"] == "report" {
			au.Source = FromReport
		}
		if v, ok := args["wrap"]; ok {
			au.PTS &= 1<<atoi(t, v) - 1
		}
		payload := make([]byte, size)
		binary.BigEndian.PutUint32(payload, uint32(id))
		binary.BigEndian.PutUint32(payload[4:], uint32(len(s.units)))
		au.Payload = [][]byte{payload}
		s.units = append(s.units, timedUnit{au, from + time.Duration(i)*every + dur(t, args["late"])})
	}
}

// feed returns the units in order of time, moved by up to jitter but in order
// within each track.
func (s *script) feed(jitter time.Duration, seed uint64) []*AccessUnit {
	rng := rand.New(rand.NewPCG(seed, 1))
	latest := map[int]time.Duration{}
	units := slices.Clone(s.units)
	for i := range units {
		if jitter > 0 {
			units[i].at += time.Duration(rng.Int64N(int64(jitter)))
		}
		id := units[i].au.Track.ID
		units[i].at = max(units[i].at, latest[id])
		latest[id] = units[i].at
	}
	slices.SortStableFunc(units, func(a, b timedUnit) int { return int(a.at - b.at) })
	out := make([]*AccessUnit, len(units))
	for i, u := range units {
		out[i] = u.au
	}
	return out
}

func (s *script) run(t *testing.T, feed []*AccessUnit) string {
	c := &checker{t: t, next: map[int]uint32{}, ends: map[int]int64{}}
	o := s.options
	o.Encode = func(*Track, uint32, int64, []Sample) []byte { return []byte{1} }
	f := NewFragmenter(s.tracks, o, c)
	for _, au := range feed {
		f.Push(au)
	}
	f.Flush()
	if int(f.Skipped())+c.samples != len(feed) {
		t.Errorf("%d units in, %d samples out, %d skipped", len(feed), c.samples, f.Skipped())
	}
	if f.Skipped() > 0 {
		fmt.Fprintf(&c.text, "skipped %d\n", f.Skipped())
	}
	return c.text.String()
}

// checker writes fragments as text and checks what holds for every stream.
type checker struct {
	t       *testing.T
	text    strings.Builder
	open    *Fragment
	parts   int
	samples int
	next    map[int]uint32 // sequence number of the next part of a track
	ends    map[int]int64  // decode time at which a track's last run ended
}

func (c *checker) Begin(f *Fragment) {
	if c.open != nil {
		c.t.Error("begin before end")
	}
	c.open, c.parts = f, 0
}

func (c *checker) Part(f *Fragment, p *Part) {
	c.parts++
	if f != c.open || len(p.Samples) == 0 {
		c.t.Error("part outside its fragment, or empty")
	}
	c.next[p.Track.ID]++
	if p.Sequence != c.next[p.Track.ID] {
		c.t.Errorf("track %d: part %d, want %d", p.Track.ID, p.Sequence, c.next[p.Track.ID])
	}
	sum := int64(0)
	for _, s := range p.Samples {
		sum += int64(s.Duration)
		if s.Duration == 0 {
			c.t.Error("sample without duration")
		}
		if id := binary.BigEndian.Uint32(s.Payload[0]); int(id) != p.Track.ID {
			c.t.Errorf("sample of track %d in track %d", id, p.Track.ID)
		}
	}
	if sum != p.Duration || p.Independent != p.Samples[0].Key {
		c.t.Errorf("part: durations %d, want %d", sum, p.Duration)
	}
	c.samples += len(p.Samples)
}

func (c *checker) End(f *Fragment) {
	if f != c.open || len(f.Runs) == 0 {
		c.t.Error("end without begin, or nothing in it")
	}
	c.open = nil
	at := f.Producer.Time().Sub(scriptEpoch)
	fmt.Fprintf(&c.text, "%s +%s", seconds(at), seconds(f.Duration))
	for _, r := range f.Runs {
		end := r.DecodeTime
		offset := uint32(0)
		for _, p := range r.Parts {
			if p.DecodeTime < end {
				c.t.Errorf("track %d: part at %d overlaps %d", r.Track.ID, p.DecodeTime, end)
			}
			end = p.DecodeTime + p.Duration
			for _, s := range p.Samples {
				offset = max(offset, s.Offset)
			}
		}
		if end != r.DecodeTime+r.Duration {
			c.t.Errorf("track %d: run ends at %d, want %d", r.Track.ID, r.DecodeTime+r.Duration, end)
		}
		if last, ok := c.ends[r.Track.ID]; ok && !f.Discontinuity && r.DecodeTime < last-int64(r.Track.TimeScale)/50 {
			c.t.Errorf("track %d: run at %d begins before %d", r.Track.ID, r.DecodeTime, last)
		}
		c.ends[r.Track.ID] = end
		scale := int64(r.Track.TimeScale)
		fmt.Fprintf(&c.text, " | %d: %d at %s +%s", r.Track.ID, r.Samples, seconds(ticksDuration(r.DecodeTime, scale)-time.Duration(headroom)), seconds(ticksDuration(r.Duration, scale)))
		if offset > 0 {
			fmt.Fprintf(&c.text, " cts %s", seconds(ticksDuration(int64(offset), scale)))
		}
		if len(r.Track.Params) > 0 {
			fmt.Fprintf(&c.text, " config %s", r.Track.Params[0])
		}
	}
	fmt.Fprintf(&c.text, " | %d parts", c.parts)
	if f.Dependent {
		c.text.WriteString(" dependent")
	}
	if f.Discontinuity {
		c.text.WriteString(" discontinuity")
	}
	c.text.WriteByte('\n')
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }
