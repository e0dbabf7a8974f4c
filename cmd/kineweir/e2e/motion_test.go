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

// motionCase is a camera of TestMotion.
type motionCase struct {
	stream   string
	settings string // of the stream, in the config file
	file     string
	moves    [][2]float64
	idle     bool // the first stage is at work at times
}

func motionCases(t *testing.T) []motionCase {
	t.Helper()
	moves := [][2]float64{{14, 15.5}, {23, 29}}
	short := scene{seconds: 40, group: sceneFPS, noise: 8, moves: moves}.film(t)
	off := [][2]float64{{13.3, 17.5}, {23.4, 29}} // between key frames
	two := scene{seconds: 40, group: 2 * sceneFPS, noise: 8, moves: off}.film(t)
	long := scene{seconds: 40, group: 8 * sceneFPS, noise: 8, moves: moves}.film(t)
	clean := scene{seconds: 40, group: 8 * sceneFPS, noise: 2, moves: moves}.film(t)
	still := scene{seconds: 40, group: 2 * sceneFPS, noise: 12, light: 25, encode: "-b:v 600k"}.film(t)
	faint := scene{seconds: 40, group: sceneFPS, noise: 4, moves: moves, thing: "black@0.12"}.film(t)
	return []motionCase{
		{"short", "", short, moves, true},
		{"zone", `  zones: "0,0 1,0 1,0.35 0,0.35"`, short, nil, true},
		{"around", `  zones: "0,0.3 1,0.3 1,0.8 0,0.8"`, two, off, true},
		{"long", "", long, moves, false},
		{"clean", "", clean, moves, false},
		{"still", "", still, nil, true},
		{"faint", "", faint, nil, true},
		{"keen", "  sensitivity: 98", faint, moves, true},
		{"door", "record: events\n    before: 3s\n    after: 2s", short, moves, true},
	}
}

// TestMotion films still scenes with noise in which something moves at known
// times, and compares with what the detector tells. One of the cameras is
// recorded around motion only, and one comes back.
func TestMotion(t *testing.T) {
	cases := motionCases(t)
	again := scene{seconds: 14, group: sceneFPS, noise: 6, moves: [][2]float64{{6, 10}}}.film(t)
	config := "feed:\n  stream: fed\nstreams:\n  again:\n    motion:\n      enabled: true\n"
	for _, c := range cases {
		config += fmt.Sprintf("  %s:\n    motion:\n      enabled: true\n", c.stream)
		if c.settings != "" {
			config += "    " + c.settings + "\n"
		}
	}
	s := serve(t, config)
	idled := map[string]bool{}
	for _, c := range cases {
		pushFile(t, s, c.stream, c.file)
	}
	pushFile(t, s, "again", again)
	door := waitLive(t, s, "door", 1).segments[0].date // before anything has left the playlist
	for begun, back := time.Now(), false; time.Since(begun) < 45*time.Second; time.Sleep(500 * time.Millisecond) {
		if !back && time.Since(begun) > 17*time.Second {
			pushFile(t, s, "again", again)
			back = true
		}
		for _, c := range cases {
			idled[c.stream] = idled[c.stream] || s.detector(c.stream, "motion").State == "idle"
		}
	}
	for _, c := range cases {
		t.Run(c.stream, func(t *testing.T) {
			list := detections(t, s, c.stream)
			t.Logf("%+v, idle at times: %v", s.detector(c.stream, "motion"), idled[c.stream])
			begin := s.begun(c.stream)
			if c.stream == "door" {
				begin = door
				checkKept(t, s, c.stream, begin, c.moves, 3, 2)
			}
			checkMotion(t, s, c.stream, list, begin, c.moves)
			if c.idle && !idled[c.stream] {
				t.Error("the second stage looked all the time")
			}
			checkListed(t, s, c.stream, list)
		})
	}
	t.Run("again", func(t *testing.T) {
		list := detections(t, s, "again")
		if len(list) != 2 {
			t.Fatalf("a camera that came back: %+v", list)
		}
		for _, e := range list {
			if took := e.End.Sub(e.Time); took < 3*time.Second || took > 5*time.Second {
				t.Errorf("told of %v to %v, it moved for four seconds", e.Time, e.End)
			}
		}
	})
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
		if math.Abs(from-m[0]) > 0.5 || math.Abs(to-m[1]) > 1 {
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
	checkFragments(t, s, stream, list)
}

// checkFragments compares the fragments that events name with where the archive
// has the very frame that each began with.
func checkFragments(t *testing.T, s *server, stream string, list []seen) {
	t.Helper()
	for _, e := range list {
		q := url.Values{"start": {e.Time.Format(time.RFC3339Nano)}, "end": {e.Time.Add(time.Millisecond).Format(time.RFC3339Nano)}, "interval": {"1ms"}, "exact": {"frame"}}
		var found []struct {
			Time            time.Time
			Fragment, Error string
		}
		s.json("/image/"+stream+".json?"+q.Encode(), &found)
		if len(found) != 1 || found[0].Fragment != e.Fragment || found[0].Time.Sub(e.Time).Abs() > time.Millisecond {
			t.Errorf("an event of %v in fragment %s: the archive has %+v", e.Time, e.Fragment, found)
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

// checkKept compares what is recorded around events with what moved, seconds from
// begin: before and after are kept, and at most a fragment more at each end.
func checkKept(t *testing.T, s *server, stream string, begin time.Time, moves [][2]float64, before, after float64) {
	t.Helper()
	video, _, _ := variant(t, s.http+"/hls/"+stream+"/index.m3u8"+span(begin.Add(-time.Minute), begin.Add(2*time.Minute)))
	var kept [][2]float64
	at := begin
	for _, g := range media(t, video).segments {
		if !g.date.IsZero() {
			at = g.date
		}
		from := at.Sub(begin).Seconds()
		at = at.Add(g.duration)
		to := at.Sub(begin).Seconds()
		if n := len(kept); n > 0 && math.Abs(kept[n-1][1]-from) < 0.1 {
			kept[n-1][1] = to
		} else {
			kept = append(kept, [2]float64{from, to})
		}
	}
	t.Logf("%v moved, %.2f is kept", moves, kept)
	if len(kept) != len(moves) {
		t.Fatalf("%d stretches are kept, not %d", len(kept), len(moves))
	}
	for i, m := range moves {
		// A second for what is seen late, a fragment of a second that begins before.
		from, to := m[0]-before, m[1]+after
		if k := kept[i]; k[0] < from-1.2 || k[0] > from+1 || k[1] < to-1 || k[1] > to+1.2 {
			t.Errorf("kept %.2f, want %v to %v", k, from, to)
		}
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
		time.Sleep(6 * time.Second)
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
		return st.State == "idle" && st.Pictures >= 15+2 // those of the first look, and the start of a process is past
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
