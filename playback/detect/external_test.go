package detect

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback/image"
)

// TestMain makes this binary a detector when a test starts it as one.
func TestMain(m *testing.M) {
	if how := os.Getenv("DETECTOR_FOR_TEST"); how != "" {
		os.Exit(detectorMain(how))
	}
	os.Exit(m.Run())
}

// detectorMain is a program that keeps the contract of External, or breaks it.
func detectorMain(how string) int {
	in, n := bufio.NewReader(os.Stdin), 0
	fmt.Fprintln(os.Stderr, "ready for", os.Getenv("KINEWEIR_CAMERA"))
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return 0
		}
		var head struct {
			Camera, Type         string
			Width, Height, Bytes int
		}
		if err := json.Unmarshal(line, &head); err != nil {
			return 3
		}
		data := make([]byte, head.Bytes)
		if how == "early" {
			fmt.Println(`{}`)
			time.Sleep(time.Hour)
		}
		if _, err := io.ReadFull(in, data); err != nil {
			return 4
		}
		img, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil || img.Bounds().Dx() != head.Width || head.Camera != "cam" {
			return 5
		}
		n++
		switch {
		case how == "ends" && n == 3:
			return 1
		case how == "late" && n == 3:
			time.Sleep(time.Hour)
		case how == "nonsense" && n == 3:
			fmt.Println("hello")
		default:
			r, g, b, _ := img.At(head.Width/2, head.Height/2).RGBA()
			writeAnswer(os.Stdout, r > g+20000 && r > b+20000)
		}
	}
}

func writeAnswer(w io.Writer, red bool) {
	if red {
		fmt.Fprintln(w, `{"detections":[{"label":"red","score":0.9,"box":[0.25,0.25,0.5,0.5]},{"label":"red","score":0.6},{"label":"faint","score":0.2}]}`)
		return
	}
	fmt.Fprintln(w, `{"detections":[]}`)
}

// film is what a camera shows to a detector: red pictures and black ones.
type film struct {
	red   []bool
	every time.Duration
	then  error // at the end; nil: it goes on until ctx ends

	mu      sync.Mutex
	watches int
}

func (f *film) Watch(ctx context.Context, _ fragments.StreamName, o image.WatchOptions) iter.Seq2[*image.Frame, error] {
	f.mu.Lock()
	f.watches++
	f.mu.Unlock()
	return func(yield func(*image.Frame, error) bool) {
		for i, red := range f.red {
			pix := make([]byte, 3*o.Width*o.Height)
			if red {
				for p := 0; p < len(pix); p += 3 {
					pix[p] = 255
				}
			}
			if !yield(&image.Frame{Time: second(float64(i) / o.FPS), Width: o.Width, Height: o.Height, Channels: 3, Pix: pix}, nil) {
				return
			}
			select {
			case <-time.After(f.every):
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
		}
		if f.then != nil {
			yield(nil, f.then)
			return
		}
		<-ctx.Done()
		yield(nil, ctx.Err())
	}
}

// notes keeps the records that are put.
type notes struct {
	mu      sync.Mutex
	records [][]byte
	fail    error
}

func (n *notes) Put(_ context.Context, stream, key string, data []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail != nil {
		return n.fail
	}
	if stream != "detections" || key != "cam" {
		return fmt.Errorf("put into %s under %s", stream, key)
	}
	n.records = append(n.records, data)
	return nil
}

func (n *notes) setFail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fail = err
}

func (n *notes) list() [][]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.records)
}

// watching watches a live camera "cam" that shows f.
func watching(t *testing.T, f Pictures, s Settings) (*Detectors, *notes) {
	t.Helper()
	hub, n := live.New(), &notes{}
	p := hub.Publish("cam", nil)
	t.Cleanup(p.Close)
	d, err := New(Options{Hub: hub, Pictures: f, Records: n, Stream: "detections", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	if err := d.Set("cam", s); err != nil {
		t.Fatal(err)
	}
	return d, n
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("still not: %s", what)
}

// someRed is black, red from the fifth picture to the eighth, and black.
var someRed = []bool{false, false, false, false, true, true, true, true, false, false, false, false, false, false, false, false, false, false, false, false}

func checkRed(t *testing.T, n *notes) {
	t.Helper()
	var last []byte
	waitFor(t, "the event is told with its end", func() bool {
		list := n.list()
		if len(list) < 2 {
			return false
		}
		last = list[len(list)-1]
		return true
	})
	d := told(t, [][]byte{last})[0]
	if d.Label != "red" || d.Score != 0.9 || d.Box == nil || !d.Time.Equal(second(2)) || !d.End.Equal(second(3.5)) || d.Source != "shop/red" {
		t.Errorf("told of %+v", d)
	}
}

func TestProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DETECTOR_FOR_TEST", "good")
	d, n := watching(t, &film{red: someRed, every: time.Millisecond}, Settings{External: &External{Name: "shop/red", Command: []string{self}, Width: 64, Height: 36}})
	checkRed(t, n)
	waitFor(t, "all pictures are counted", func() bool { return d.List()[0].Pictures == int64(len(someRed)) })
	if st := d.List()[0]; st.Kind != "shop/red" || st.State != stateLooking || st.Events != int64(len(n.list())) {
		t.Errorf("%+v", st)
	}
	if err := d.Set("cam", Settings{}); err != nil || len(d.List()) != 0 {
		t.Errorf("switched off: %v, %+v", err, d.List())
	}
}

// A program that breaks the contract is ended and started again; a good event is
// not lost by it.
func TestProgramMisbehaves(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for how, want := range map[string]string{
		"ends": "has ended", "late": "no answer in time", "nonsense": "not as agreed", "early": "without reading",
	} {
		t.Run(how, func(t *testing.T) {
			t.Setenv("DETECTOR_FOR_TEST", how)
			f := &film{red: someRed, every: time.Millisecond}
			e := External{Name: "bad", Command: []string{self}, Width: 64, Height: 36, Timeout: 2 * time.Second}
			if how == "early" {
				e.Width, e.Height, e.Timeout = 1920, 1080, time.Second // more than a pipe holds
				f.red = []bool{true, true}
			}
			d, _ := watching(t, noisy{f}, Settings{External: &e})
			waitFor(t, "the error", func() bool { return d.List()[0].Err != nil })
			if err := d.List()[0].Err; !strings.Contains(err.Error(), want) {
				t.Errorf("error %q, want %q", err, want)
			}
			waitFor(t, "it is tried again", func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return f.watches >= 2
			})
		})
	}
	if _, err := startProgram(t.Context(), External{Command: []string{"/no/such/detector"}}, "cam", slog.Default()); err == nil {
		t.Error("a program that is not there is started")
	}
}

// noisy makes pictures that JPEG cannot make small.
type noisy struct{ *film }

func (n noisy) Watch(ctx context.Context, name fragments.StreamName, o image.WatchOptions) iter.Seq2[*image.Frame, error] {
	return func(yield func(*image.Frame, error) bool) {
		seed := uint32(1)
		for f, err := range n.film.Watch(ctx, name, o) {
			if err == nil && o.Width > 64 {
				for i := range f.Pix {
					seed = seed*1664525 + 1013904223
					f.Pix[i] = byte(seed >> 24)
				}
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

func TestService(t *testing.T) {
	var asked, resting int
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		img, err := jpeg.Decode(r.Body)
		if err != nil || r.Header.Get("Content-Type") != "image/jpeg" || r.Header.Get("Kineweir-Camera") != "cam" || r.Header.Get("Kineweir-Time") == "" {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		if asked == 1 { // a rest at first
			resting++
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		if r, _, _, _ := img.At(10, 10).RGBA(); r < 20000 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		writeAnswer(w, true)
	}))
	defer srv.Close()
	red := slices.Concat(make([]bool, 200), someRed)
	d, n := watching(t, &film{red: red, every: 10 * time.Millisecond}, Settings{External: &External{Name: "shop/red", URL: srv.URL, Width: 64, Height: 36}})
	waitFor(t, "the event", func() bool { return len(n.list()) >= 2 })
	waitFor(t, "all pictures", func() bool { st := d.List()[0]; return st.Pictures+st.Skipped == int64(len(red)) })
	if st := d.List()[0]; resting != 1 || st.Skipped < 10 || st.Skipped > 150 {
		t.Errorf("rested %d times, %+v", resting, st)
	}
}

func TestServiceErrors(t *testing.T) {
	p := &picture{camera: "cam", at: noon, jpeg: []byte("x")}
	for _, tc := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request)
		want   string // of the error; "" for none
	}{
		{"nothing", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, ""},
		{"no detections", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{}`) }, ""},
		{"an error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "out of memory", 500) }, "out of memory"},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }, "302"},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, "not as agreed"},
		{"too much", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxAnswer+1)) }, "more than"},
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }, "deadline"},
		{"busy", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "7"); w.WriteHeader(503) }, "rest of 7s"},
		{"busy for long", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7000")
			w.WriteHeader(429)
		}, "rest of 30s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(tc.answer))
			defer srv.Close()
			s := newService(External{URL: srv.URL})
			defer s.close()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			_, err := s.detect(ctx, p)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestParseAnswer(t *testing.T) {
	for _, tc := range []struct {
		answer string
		good   bool
	}{
		{`{"detections":[{"label":"a","score":1}]}`, true},
		{`{"detections":[{"label":"a","score":1,"box":[0,0,1,1],"attributes":null}]}`, true},
		{`{"detections":[{"label":"a","score":0.5,"box":[-0.005,0.5,1,0.505]}]}`, true},
		{`{"detections":[{"label":"","score":1}]}`, false},
		{`{"detections":[{"label":"a","score":2}]}`, false},
		{`{"detections":[{"label":"a","score":1,"box":[0,0,1]}]}`, false},
		{`{"detections":[{"label":"a","score":1,"box":[0,0,640,360]}]}`, false},
		{`{"detections":[{"label":"a","score":1,"attributes":[1]}]}`, false},
		{`{"detections":[` + strings.Repeat(`{"label":"a","score":1},`, maxFound) + `{"label":"a","score":1}]}`, false},
		{`[]`, false},
		{``, false},
	} {
		list, err := parseAnswer([]byte(tc.answer))
		if (err == nil) != tc.good {
			t.Errorf("%.80s: %v", tc.answer, err)
		}
		for _, f := range list {
			for _, v := range f.Box {
				if v < 0 || v > 1 {
					t.Errorf("%s: box %v", tc.answer, f.Box)
				}
			}
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`{"detections":[{"label":"a","score":1,"box":[0,0,1,1],"attributes":{"a":1}}]}`))
	f.Add([]byte(`{"detections":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseAnswer(b)
		if err != nil {
			return
		}
		tr := testTracker(1, time.Second)
		var s []sighting
		for i := range list {
			s = append(s, best(list[i:i+1], &image.Frame{Time: noon}, 0)...)
		}
		told(t, tr.see(noon, s)) // whatever is taken can be told
	})
}

// Whatever the records' stream does, detectors go on.
func TestRecordsFail(t *testing.T) {
	hub, n := live.New(), &notes{fail: errors.New("no such stream")}
	defer hub.Publish("cam", nil).Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeAnswer(w, true) }))
	defer srv.Close()
	d, err := New(Options{Hub: hub, Pictures: &film{red: make([]bool, 30), every: time.Millisecond}, Records: n, Stream: "detections"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Set("cam", Settings{External: &External{URL: srv.URL, Width: 16, Height: 16}}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "all pictures", func() bool { return d.List()[0].Pictures == 30 })
	if d.List()[0].Events != 0 {
		t.Error("events are counted as told")
	}
}

func TestSettings(t *testing.T) {
	for _, tc := range []struct {
		name string
		s    Settings
		want string // of the error; "" for none
	}{
		{"nothing", Settings{}, ""},
		{"motion", Settings{Motion: &Motion{}}, ""},
		{"sensitivity", Settings{Motion: &Motion{Sensitivity: 101}}, "sensitivity 101"},
		{"fps", Settings{Motion: &Motion{FPS: 100}}, "fps 100"},
		{"quiet", Settings{Motion: &Motion{Quiet: time.Hour}}, "quiet 1h"},
		{"zone", Settings{Motion: &Motion{Zones: []Zone{{}}}}, "zone 1"},
		{"zones", Settings{Motion: &Motion{Zones: make([]Zone, maxZones+1)}}, "33 zones"},
		{"neither", Settings{External: &External{}}, "give the url"},
		{"both", Settings{External: &External{URL: "http://a/", Command: []string{"b"}}}, "give the url"},
		{"url", Settings{External: &External{URL: "ftp://a/"}}, "write http://"},
		{"name", Settings{External: &External{URL: "http://a/", Name: "a b"}}, "name"},
		{"size", Settings{External: &External{URL: "http://a/", Width: 8000}}, "size"},
		{"timeout", Settings{External: &External{URL: "http://a/", Timeout: time.Hour}}, "timeout"},
		{"min_score", Settings{External: &External{URL: "http://a/", MinScore: 3}}, "min_score"},
		{"sure", Settings{External: &External{URL: "http://a/", Sure: -1}}, "sure"},
		{"slow", Settings{External: &External{URL: "http://a/", FPS: 0.01}}, "fps"},
		{"external quiet", Settings{External: &External{URL: "http://a/", Quiet: time.Hour}}, "quiet"},
	} {
		err := tc.s.Validate()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}
