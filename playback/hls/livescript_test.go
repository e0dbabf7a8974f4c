package hls_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	memory "github.com/kineweir/kineweir/fragments/live"
)

// liveScript is what a script tells of a stream that is being published.
type liveScript struct {
	hub  *memory.Hub
	pub  *memory.Publisher
	open *fragments.Fragment
	runs map[string]*fragments.Run
	cut  []*fragments.Fragment // closed, and neither shown nor dropped
	seq  uint32
	part time.Duration
}

// liveCommand runs the commands of publishing; see TestScripts.
func (s *script) liveCommand(f []string) {
	l := &s.live
	switch f[0] {
	case "publish":
		var tracks []*fragments.Track
		for _, letter := range s.letters {
			tracks = append(tracks, s.tracks[letter])
		}
		l.pub = l.hub.Publish(s.name, tracks)
		l.pub.Created(s.created)
	case "leave":
		l.pub.Close()
	case "begin":
		s.begin(f[1:])
	case "part":
		s.part(f[1:])
	case "end":
		s.end()
	case "live":
		for range count(f) {
			s.begin(nil)
			s.part([]string{"x=5"})
			s.end()
		}
	case "shown", "dropped":
		n := len(l.cut)
		if len(f) > 1 {
			n = integer(f[1])
		}
		for _, f2 := range l.cut[:n] {
			if f[0] == "shown" {
				s.archive.Add(s.name, entry(f2), nil, trackList(f2)...)
			}
			l.pub.Settled(f2.Number, f[0] == "shown")
		}
		l.cut = l.cut[n:]
	}
}

func count(f []string) int {
	if len(f) > 1 {
		return integer(f[1])
	}
	return 1
}

func (s *script) begin(options []string) {
	l := &s.live
	s.number.Counter++
	f := &fragments.Fragment{Number: s.number}
	for _, opt := range options {
		switch key, value, _ := strings.Cut(opt, "="); key {
		case "gap":
			s.at += duration(value)
		case "dep":
			f.Dependent = true
		case "disc":
			f.Discontinuity = true
		default:
			panic(fmt.Sprintf("%q is unknown", opt))
		}
	}
	f.Producer = fragments.ProducerTime(s.created.Add(s.at + s.reorder))
	f.Server = fragments.ServerTime(s.created.Add(s.at + s.lag))
	l.open, l.runs, l.part = f, map[string]*fragments.Run{}, 0
	l.pub.Begin(f)
}

// part cuts parts of 200 ms of every track: 5 frames of video, as many frames of
// audio as begin in them.
func (s *script) part(options []string) {
	l := &s.live
	times, length := 1, 200*time.Millisecond
	without := map[string]bool{}
	for _, opt := range options {
		switch key, value, _ := strings.Cut(opt, "="); {
		case key == "x":
			times = integer(value)
		case key == "long":
			length = duration(value)
		case strings.HasPrefix(key, "-"):
			without[key[1:]] = true
		default:
			panic(fmt.Sprintf("%q is unknown", opt))
		}
	}
	for range times {
		for _, letter := range s.letters {
			if !without[letter] {
				s.partOf(letter, length)
			}
		}
		l.part += length
		s.now = s.created.Add(s.at + l.part + s.lag)
	}
}

func (s *script) partOf(letter string, length time.Duration) {
	l, t := &s.live, s.tracks[letter]
	r := run(t, s.at+l.part, length, 0)
	l.seq++
	p := &fragments.Part{
		Track: t, Sequence: l.seq, DecodeTime: r.DecodeTime, Duration: r.Duration,
		Samples: make([]fragments.Sample, r.Samples), Independent: l.part == 0 && !l.open.Dependent || t.Kind() == fragments.KindAudio,
		Data: make([]byte, r.Size),
	}
	have := l.runs[letter]
	if have == nil {
		have = &fragments.Run{Track: t, DecodeTime: p.DecodeTime}
		l.runs[letter] = have
	}
	have.Parts = append(have.Parts, p)
	have.Duration = p.DecodeTime + p.Duration - have.DecodeTime
	have.Samples += r.Samples
	have.Bytes += len(p.Data)
	l.pub.Part(l.open, p)
}

func (s *script) end() {
	l := &s.live
	f := l.open
	f.Duration = l.part
	for _, letter := range s.letters {
		if r := l.runs[letter]; r != nil {
			f.Runs = append(f.Runs, *r)
		}
	}
	s.at += l.part
	l.open, l.cut = nil, append(l.cut, f)
	l.pub.End(f)
}

// entry is what the archive shows of f.
func entry(f *fragments.Fragment) *archive.Entry {
	e := &archive.Entry{
		Object: "o", Number: f.Number, Producer: f.Producer, Server: f.Server, Duration: f.Duration,
		Dependent: f.Dependent, Discontinuity: f.Discontinuity,
	}
	for _, r := range f.Runs {
		e.Runs = append(e.Runs, archive.EntryRun{
			Track: r.Track.ID, Config: r.Track.Hash(), Kind: r.Track.Kind(), TimeScale: r.Track.TimeScale,
			DecodeTime: r.DecodeTime, Duration: r.Duration, Samples: r.Samples, Size: int64(r.Bytes),
		})
	}
	return e
}

func trackList(f *fragments.Fragment) (tracks []*fragments.Track) {
	for _, r := range f.Runs {
		tracks = append(tracks, r.Track)
	}
	return tracks
}
