package e2e

import (
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMotion films still scenes with noise in which something moves at known
// times, and compares with what the detector tells.
func TestMotion(t *testing.T) {
	moves := [][2]float64{{14, 15.5}, {23, 29}}
	short := scene{seconds: 40, group: sceneFPS, noise: 8, moves: moves}.film(t)
	cases := []struct {
		stream   string
		settings string // of the stream, in the config file
		file     string
		moves    [][2]float64
		idle     bool // the first stage is at work at times
	}{
		{"short", "", short, moves, true},
		{"zone", `zones: "0,0 1,0 1,0.35 0,0.35"`, short, nil, true},
		{"around", `zones: "0,0.3 1,0.3 1,0.8 0,0.8"`, short, moves, true},
		{"long", "", scene{seconds: 40, group: 8 * sceneFPS, noise: 8, moves: moves}.film(t), moves, false},
		{"clean", "", scene{seconds: 40, group: 8 * sceneFPS, noise: 2, moves: moves}.film(t), moves, false},
		{"still", "", scene{seconds: 40, group: 2 * sceneFPS, noise: 12, light: 25, encode: "-b:v 600k"}.film(t), nil, true},
		{"faint", "", scene{seconds: 40, group: sceneFPS, noise: 4, moves: moves, thing: "black@0.12"}.film(t), nil, true},
		{"keen", "sensitivity: 98", "", moves, true},
	}
	config := "feed:\n  stream: fed\nstreams:\n"
	for i, c := range cases {
		config += fmt.Sprintf("  %s:\n    motion:\n      enabled: true\n", c.stream)
		if c.settings != "" {
			config += "      " + c.settings + "\n"
		}
		if c.file == "" {
			cases[i].file = cases[i-1].file
		}
	}
	s := serve(t, config)
	idled := map[string]bool{}
	for _, c := range cases {
		pushFile(t, s, c.stream, c.file)
	}
	for end := time.Now().Add(45 * time.Second); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		for _, c := range cases {
			idled[c.stream] = idled[c.stream] || s.detector(c.stream, "motion").State == "idle"
		}
	}
	for _, c := range cases {
		t.Run(c.stream, func(t *testing.T) {
			list := detections(t, s, c.stream)
			t.Logf("%+v, idle at times: %v", s.detector(c.stream, "motion"), idled[c.stream])
			checkMotion(t, s, c.stream, list, s.begun(c.stream), c.moves)
			if c.idle && !idled[c.stream] {
				t.Error("the second stage looked all the time")
			}
			checkListed(t, s, c.stream, list)
		})
	}
}

// checkMotion compares events with the truth: what moved when, seconds from begin.
func checkMotion(t *testing.T, s *server, stream string, list []seen, begin time.Time, moves [][2]float64) {
	t.Helper()
	for _, e := range list {
		t.Logf("%s: %.2f to %.2f s, score %v, box %.2f, told %d times, first %v after it began", e.Label, e.Time.Sub(begin).Seconds(), e.End.Sub(begin).Seconds(), e.Score, *e.Box, e.told, e.first.Sub(e.Time).Round(time.Millisecond))
	}
	if len(list) != len(moves) {
		t.Fatalf("%d events, %d times something moved", len(list), len(moves))
	}
	parts := fragmentsOf(t, s, "fed", stream)
	for i, m := range moves {
		e := list[i]
		from, to := e.Time.Sub(begin).Seconds(), e.End.Sub(begin).Seconds()
		if math.Abs(from-m[0]) > 1 || math.Abs(to-m[1]) > 1 {
			t.Errorf("told %.2f to %.2f s, moved %v", from, to, m)
		}
		if e.Label != "motion" || e.Source != "kineweir/motion" || e.Score <= 0.2 || e.Score > 1 {
			t.Errorf("%+v", e)
		}
		if b := e.Box; b == nil || math.Abs(b[1]-sceneThingTop) > 0.12 || math.Abs(b[1]+b[3]-sceneThingBottom) > 0.12 || b[2] > 0.35 {
			t.Errorf("box %v is not over the thing", b)
		}
		if f, ok := parts[e.Fragment]; !ok || e.Time.Before(f[0].Add(-20*time.Millisecond)) || e.Time.After(f[1].Add(20*time.Millisecond)) {
			t.Errorf("fragment %q of %d is from %v to %v: it does not cover %v", e.Fragment, len(parts), f[0], f[1], e.Time)
		}
		if late := e.first.Sub(e.Time); late > 5*time.Second {
			t.Errorf("told %v after it began", late)
		}
	}
}

// checkListed compares the API with the data stream.
func checkListed(t *testing.T, s *server, stream string, list []seen) {
	t.Helper()
	var found struct{ Detections []struct{ ID, Label string } }
	s.json("/api/detections?"+url.Values{"stream": {stream}}.Encode(), &found)
	if len(found.Detections) != len(list) {
		t.Fatalf("the API lists %d of %d events", len(found.Detections), len(list))
	}
	for i := range list {
		if found.Detections[i].ID != list[i].ID {
			t.Errorf("the API lists %+v, the data stream has %s", found.Detections[i], list[i].ID)
		}
	}
}

// TestMotionAfterReconnect has a camera come back: what moves then is seen too.
func TestMotionAfterReconnect(t *testing.T) {
	s := serve(t, "feed:\n  stream: fed\nstreams:\n  door:\n    motion:\n      enabled: true\n")
	file := scene{seconds: 14, group: sceneFPS, noise: 6, moves: [][2]float64{{6, 10}}}.film(t)
	for i := range 2 {
		begin := time.Now()
		cancel := pushFile(t, s, "door", file)
		eventually(t, 30*time.Second, "the motion is told with its end", func() bool {
			list := detections(t, s, "door")
			return len(list) == i+1 && list[i].End.Sub(list[i].Time) > 2*time.Second
		})
		e := detections(t, s, "door")[i]
		if e.Time.Before(begin) || e.End.After(time.Now().Add(time.Second)) {
			t.Errorf("publisher of %v: told of %v to %v", begin, e.Time, e.End)
		}
		eventually(t, 20*time.Second, "the camera is gone", func() bool { return s.detector("door", "motion").State == "waiting" })
		cancel()
	}
}

// TestRecordAroundMotion keeps of a stream what is around motion: for as long as
// that lasts, and not more.
func TestRecordAroundMotion(t *testing.T) {
	s := serve(t, "streams:\n  door:\n    record: events\n    before: 3s\n    after: 2s\n    motion:\n      enabled: true\n")
	file := scene{seconds: 40, group: sceneFPS, noise: 8, moves: [][2]float64{{12, 24}}}.film(t)
	pushFile(t, s, "door", file)
	begin := waitLive(t, s, "door", 1).segments[0].date // before anything has left the playlist
	time.Sleep(time.Until(begin.Add(39 * time.Second)))
	list := detections(t, s, "door")
	if len(list) != 1 || list[0].told < 4 {
		t.Fatalf("told of %+v, want one event, told again while it lasts", list)
	}
	video, _, _ := variant(t, s.http+"/hls/door/index.m3u8"+span(begin.Add(-time.Minute), begin.Add(time.Minute)))
	p := media(t, video)
	var length time.Duration
	for _, g := range p.segments {
		length += g.duration
	}
	from := p.segments[0].date.Sub(begin).Seconds()
	to := from + length.Seconds()
	t.Logf("moved from 12 to 24 s; told %d times; kept from %.2f to %.2f s", list[0].told, from, to)
	// A fragment of a second more at each end, and a second for what is seen late.
	if p.discontinuity > 0 || from < 12-3-1.2 || from > 12-3+1 || to < 24+2-1 || to > 24+2+2 {
		t.Errorf("kept from %.2f to %.2f s with %d gaps, want 9 to 26", from, to, p.discontinuity)
	}
}

// TestMotionCost measures what the stages cost, per camera and second.
func TestMotionCost(t *testing.T) {
	s := serve(t, "")
	still := scene{seconds: 60, group: 2 * sceneFPS, noise: 6}.film(t)
	busy := scene{seconds: 60, group: 2 * sceneFPS, noise: 6, moves: [][2]float64{{0, 60}}}.film(t)
	pushFile(t, s, "still", still)
	pushFile(t, s, "busy", busy)
	waitLive(t, s, "busy", 2)
	measure := func(what string) (server, decoder time.Duration) {
		from := s.cpu()
		begin := time.Now()
		time.Sleep(8 * time.Second)
		to, took := s.cpu(), time.Since(begin).Seconds()
		per := func(i int) time.Duration {
			return time.Duration(float64(to[i]-from[i]) / took).Round(10 * time.Microsecond)
		}
		t.Logf("%s: server %v, decoders %v a second", what, per(0), per(1))
		return per(0), per(1)
	}
	watch := func(stream string) {
		s.put("/api/streams/"+stream+"/settings", `{"motion":{}}`)
	}
	none, _ := measure("two cameras, no detector")
	watch("still")
	eventually(t, 30*time.Second, "the first stage has been at work for a while", func() bool {
		st := s.detector("still", "motion")
		return st.State == "idle" && st.Pictures >= 15+4 // those of the first look, and the start of a process is past
	})
	server, decoder := measure("first stage")
	if cost := server - none + decoder; cost > 100*time.Millisecond {
		t.Errorf("the first stage costs %v a second", cost)
	}
	watch("busy")
	eventually(t, 20*time.Second, "there is motion", func() bool { return len(detections(t, s, "busy")) > 0 })
	time.Sleep(2 * time.Second) // past the start of the process, which is no part of the going rate
	measure("and a second stage")
	if st := s.detector("still", "motion"); st.Wakes > 0 || st.State != "idle" {
		t.Errorf("the still camera: %+v", st)
	}
}

// cpu returns the time that the server and the processes it has started have
// used so far.
func (s *server) cpu() (used [2]time.Duration) {
	s.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		s.t.Fatal(err)
	}
	server := strconv.Itoa(s.cmd.Process.Pid)
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		f := strings.Fields(rest) // from the third field on: proc(5)
		ticks := func(i int) time.Duration {
			n, _ := strconv.ParseInt(f[i-3], 10, 64)
			return time.Duration(n) * 10 * time.Millisecond
		}
		switch {
		case strings.HasPrefix(string(text), server+" "):
			used[0] += ticks(14) + ticks(15)
			used[1] += ticks(16) + ticks(17) // of those that have ended
		case f[4-3] == server:
			used[1] += ticks(14) + ticks(15)
		}
	}
	return used
}

// TestDemoDetects finds what comes by on each camera of the demo.
func TestDemoDetects(t *testing.T) {
	out, _ := startDemo(t, "--http", fmt.Sprintf("127.0.0.1:%d", freePort(t)), "--rtsp", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	console := regexp.MustCompile(`http://[^/\s]+/\n`).FindString(out.String())
	s := &server{t: t, http: strings.TrimSuffix(console, "/\n")}
	for _, camera := range []string{"front-door", "yard", "loading-dock"} {
		eventually(t, 40*time.Second, "two things come by on "+camera, func() bool { return len(detections(t, s, camera)) >= 2 })
		for _, e := range detections(t, s, camera) {
			t.Logf("%s: %v of %v, score %v, box %.2f", camera, e.Time.Format(time.TimeOnly), e.End.Sub(e.Time), e.Score, *e.Box)
		}
	}
	t.Run("no ffmpeg", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		out, _ := startDemo(t, "--http", fmt.Sprintf("127.0.0.1:%d", freePort(t)), "--rtsp", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
		if !strings.Contains(out.String(), "install ffmpeg") {
			t.Errorf("it does not say what is missing:\n%s", out)
		}
	})
}
