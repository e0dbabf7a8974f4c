package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/archive/events"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/web"
	"github.com/kineweir/kineweir/web/api"
	"github.com/kineweir/kineweir/web/auth"
)

// The fake house: the real front door, users and API, over streams that only
// seem to be there. Every segment of 2 s that was "recorded" is one of a loop
// made by ffmpeg: segment i of the time line is segment i modulo loop of it.
const (
	segment = 2 * time.Second
	loop    = 15
	epoch   = 890_000_010 // a segment of the year 2026, a multiple of loop: before all that is played
)

// between is a stretch of recorded time.
type between struct{ from, to time.Time }

type fakeStream struct {
	spans []between // the last one goes on when the stream is live
	live  bool
	video *fragments.Track
	audio *fragments.Track
	err   string
	media string // folder of the loop
}

type house struct {
	base    string
	mu      sync.Mutex // guards the fields below
	streams map[fragments.StreamName]*fakeStream
	cameras []api.Camera
	clips   []string // queries
	images  []string // likewise
	seen    []events.Detection

	webRTC   bool
	stills   bool // whether the server makes pictures
	settings map[fragments.StreamName]api.StreamSettings
	hub      *live.Hub
	kick     func(error) // the newest publisher by WHIP
}

// furnish changes a house before it is served; what it returns is served too.
type furnish func(h *house) []web.Route

var (
	h264 = &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000, Width: 1920, Height: 1080}
	aac  = &fragments.Track{ID: 2, Codec: fragments.AAC, TimeScale: 48000, SampleRate: 48000, Channels: 2}
	vp8  = &fragments.Track{ID: 1, Codec: fragments.VP8, TimeScale: 90000, Width: 640, Height: 480}
)

// makeMedia makes a loop of 30 s; source is an ffmpeg filter.
func makeMedia(t testing.TB, source, size string) string {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatalf("ffmpeg is needed: apt-get install ffmpeg: %v", err)
	}
	dir := t.TempDir()
	cmd := exec.Command(path, "-nostdin", "-v", "error", "-f", "lavfi", "-i", source+"=size="+size+":rate=25", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-t", strconv.Itoa(loop*2), "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-bf", "0",
		"-c:a", "aac", "-ac", "2", "-b:a", "64k", "-f", "hls", "-hls_time", "2", "-hls_segment_type", "fmp4", "-hls_list_size", "0", "-hls_segment_filename", "%d.m4s", "index.m3u8",
		"-map", "0:v", "-t", "8", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-bf", "0",
		"-x264-params", "aud=1:sliced-threads=0:repeat-headers=1", "-f", "h264", "raw.h264")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, strconv.Itoa(loop-1)+".m4s")); err != nil {
		t.Fatalf("ffmpeg made fewer segments than expected: %v", err)
	}
	return dir
}

// startHouse serves the console over the given streams. credentials is the text
// of the credentials file, "" for none.
func startHouse(t *testing.T, credentials string, streams map[fragments.StreamName]*fakeStream, more ...furnish) *house {
	t.Helper()
	dir := t.TempDir()
	if credentials != "" {
		if err := os.WriteFile(filepath.Join(dir, auth.DefaultFile), []byte(credentials), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	store, _, err := auth.Prepare(auth.Options{DataDir: dir, Addrs: []string{"127.0.0.1:0"}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	hub := live.New()
	h := &house{streams: streams, hub: hub, settings: map[fragments.StreamName]api.StreamSettings{}}
	for n, s := range streams {
		if s.live {
			hub.Publish(n, s.tracks())
		}
	}
	a, err := api.New(api.Options{
		Streams: h, Hub: hub, Access: store, Tokens: store, Deleter: h, Publishers: h, Cameras: h, Detections: detectors{h}, Settings: settings{h}, Version: "test", RTSP: "127.0.0.1:8554", RTSPS: "127.0.0.1:8322",
		Playable: func(t *fragments.Track) error {
			if t.Codec == fragments.VP8 {
				return errors.New("VP8 cannot play as fragmented MP4: set the publisher to H.264, VP9 or AV1")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	pages, err := Routes()
	if err != nil {
		t.Fatal(err)
	}
	media := []web.Route{
		{Pattern: "GET /hls/{stream}/{file}", Kind: web.Media, Handler: h.guarded(store, h.hls)},
		{Pattern: "GET /image/{file}", Kind: web.Media, Handler: http.HandlerFunc(h.image)},
		{Pattern: "GET /clip/{file}", Kind: web.Media, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.mu.Lock()
			h.clips = append(h.clips, r.URL.RequestURI())
			h.mu.Unlock()
			w.Header().Set("Content-Disposition", "attachment")
			_, _ = io.WriteString(w, "clip")
		})},
	}
	for _, f := range more {
		media = append(media, f(h)...)
	}
	s, err := web.New(web.Options{Addrs: []string{"127.0.0.1:0"}, Open: store.Open(), Log: log, Routes: slices.Concat(pages, a.Routes(), store.Routes(), media)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // browsers keep connections
		_ = s.Close(ctx)
	})
	h.base = "http://" + s.Addrs()[0].String()
	return h
}

func (h *house) guarded(store *auth.Store, f func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := store.Stream(r, ingest.View, fragments.StreamName(r.PathValue("stream")))
		if err == nil {
			err = f(w, r)
		}
		if err != nil {
			web.WriteError(w, err)
		}
	})
}

func (s *fakeStream) tracks() []*fragments.Track {
	if s.audio == nil {
		return []*fragments.Track{s.video}
	}
	return []*fragments.Track{s.video, s.audio}
}

// recorded lists the segments of the stream from one time to another.
func (s *fakeStream) recorded(from, to time.Time) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i, b := range s.spans {
			end := b.to
			if s.live && i == len(s.spans)-1 {
				end = time.Now()
			}
			first, last := max(b.from.UnixNano(), from.UnixNano()-int64(segment)+1), min(end.UnixNano(), to.UnixNano())
			for n := (first + int64(segment) - 1) / int64(segment); (n+1)*int64(segment) <= end.UnixNano() && n*int64(segment) < last; n++ {
				if !yield(n) {
					return
				}
			}
		}
	}
}

func (s *fakeStream) entry(n int64) *archive.Entry {
	at := n * int64(segment)
	e := &archive.Entry{Number: fragments.Number{Epoch: 1, Counter: uint64(n)}, Producer: fragments.ProducerTimestamp(at), Server: fragments.ServerTimestamp(at), Duration: segment, Size: 600_000}
	for _, t := range s.tracks() {
		e.Runs = append(e.Runs, archive.EntryRun{Track: t.ID, Config: t.Hash(), Kind: t.Kind(), Samples: 50})
	}
	return e
}

// The archive that the API asks.

func (h *house) Streams() []archive.StreamInfo {
	var list []archive.StreamInfo
	for n := range h.streams {
		s, _ := h.Stream(n)
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b archive.StreamInfo) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return list
}

func (h *house) Stream(name fragments.StreamName) (archive.StreamInfo, error) {
	s := h.streams[name]
	if s == nil {
		return archive.StreamInfo{}, archive.ErrNoStream
	}
	info := archive.StreamInfo{Name: name, Recording: s.live}
	for i, b := range s.spans {
		end := b.to
		if s.live && i == len(s.spans)-1 {
			end = time.Now()
		}
		info.Fragments += int64(end.Sub(b.from) / segment)
		if i == 0 {
			info.Created, info.First = b.from, s.entry(b.from.UnixNano()/int64(segment)+1)
		}
		info.Last = s.entry(end.UnixNano()/int64(segment) - 1)
	}
	info.Bytes = info.Fragments * 600_000
	return info, nil
}

func (h *house) Fragments(_ context.Context, name fragments.StreamName, sel fragments.Selector) iter.Seq2[*archive.Entry, error] {
	return func(yield func(*archive.Entry, error) bool) {
		s := h.streams[name]
		for n := range s.recorded(sel.Start, sel.End) {
			if !yield(s.entry(n), nil) {
				return
			}
		}
	}
}

func (h *house) Track(name fragments.StreamName, hash fragments.ConfigHash) (*fragments.Track, error) {
	for _, t := range h.streams[name].tracks() {
		if t.Hash() == hash {
			return t, nil
		}
	}
	return nil, errors.New("no such track")
}

func (h *house) DeleteStream(context.Context, fragments.StreamName) error { return nil }

func (h *house) Publisher(name fragments.StreamName) (api.Publisher, bool) {
	s := h.streams[name]
	if s == nil || !s.live {
		return api.Publisher{}, false
	}
	return api.Publisher{
		Source: ingest.Source{Protocol: "rtsp", Remote: "192.168.1.64:51230", User: "front-door-camera"},
		Stats:  ingest.Stats{FPS: 25, BitRate: 2_412_000, Lag: 180 * time.Millisecond, LastUnit: time.Now(), Source: fragments.FromReport},
	}, true
}

func (h *house) LastError(name fragments.StreamName) string {
	if s := h.streams[name]; s != nil {
		return s.err
	}
	return ""
}

func (h *house) List() []api.Camera {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.cameras)
}

func (h *house) Set(_ context.Context, c api.Camera) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cameras = append(slices.DeleteFunc(h.cameras, func(o api.Camera) bool { return o.Name == c.Name }), c)
	return nil
}

func (h *house) Delete(_ context.Context, name fragments.StreamName) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cameras = slices.DeleteFunc(h.cameras, func(o api.Camera) bool { return o.Name == name })
	return nil
}

// detectors are what was seen.
type detectors struct{ h *house }

func (d detectors) Cameras() []fragments.StreamName { return nil }

// Find knows the newest first, and pages that are numbers of detections.
func (d detectors) Find(_ context.Context, q events.Query) (page events.Page, err error) {
	d.h.mu.Lock()
	list := slices.Clone(d.h.seen)
	d.h.mu.Unlock()
	slices.SortFunc(list, func(a, b events.Detection) int { return b.Time.Compare(a.Time) })
	list = slices.DeleteFunc(list, func(e events.Detection) bool {
		return e.Camera != q.Cameras[0] || q.Label != "" && e.Label != q.Label
	})
	from, _ := strconv.Atoi(q.Page)
	page.Detections = list[from:min(from+q.Limit, len(list))]
	if from+q.Limit < len(list) {
		page.Next = strconv.Itoa(from + q.Limit)
	}
	return page, nil
}

func (h *house) see(list ...events.Detection) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range list {
		d.ID = strconv.Itoa(len(h.seen))
		h.seen = append(h.seen, d)
	}
}

// hls serves playlists and segments.
func (h *house) hls(w http.ResponseWriter, r *http.Request) error {
	s := h.streams[fragments.StreamName(r.PathValue("stream"))]
	file := r.PathValue("file")
	nothing := &web.Error{Status: http.StatusNotFound, Code: "nothing", Message: "nothing was recorded then"}
	if s == nil {
		return nothing
	}
	if strings.HasSuffix(file, ".mp4") || strings.HasSuffix(file, ".m4s") {
		w.Header().Set("Cache-Control", "no-store")
		http.ServeFile(w, r, filepath.Join(s.media, filepath.Base(file)))
		return nil
	}
	if s.video == vp8 {
		return &web.Error{Status: http.StatusUnsupportedMediaType, Code: "not_playable", Message: "VP8 cannot play as fragmented MP4: set the publisher to H.264, VP9 or AV1"}
	}
	now := time.Now()
	if file == "live.m3u8" {
		if !s.live {
			return &web.Error{Status: http.StatusServiceUnavailable, Code: "not_live", Message: "nobody publishes this stream now", RetryAfter: 5}
		}
		writePlaylist(w, slices.Collect(s.recorded(now.Add(-14*time.Second), now)), "", time.Time{}, false)
		return nil
	}
	start, err := web.QueryTime(r, "start")
	if err != nil {
		return err
	}
	end, err := web.QueryTime(r, "end")
	if err != nil {
		return err
	}
	kind := "VOD"
	until := end
	if end.IsZero() {
		kind, until = "EVENT", now
	}
	list := slices.Collect(s.recorded(start, until))
	if len(list) == 0 {
		return nothing
	}
	writePlaylist(w, list, kind, start, !end.IsZero() || !s.live)
	return nil
}

func writePlaylist(w http.ResponseWriter, list []int64, kind string, start time.Time, ended bool) {
	w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
	w.Header().Set("Cache-Control", "no-cache")
	fmt.Fprintf(w, "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-INDEPENDENT-SEGMENTS\n")
	if kind != "" {
		fmt.Fprintf(w, "#EXT-X-PLAYLIST-TYPE:%s\n#EXT-X-MEDIA-SEQUENCE:0\n", kind)
	} else if len(list) > 0 {
		// hls.js keeps an array by discontinuity and walks it at every load: the
		// number must be small.
		fmt.Fprintf(w, "#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n", list[0], (list[0]+loop-1)/loop-epoch/loop)
	}
	if !start.IsZero() {
		offset := start.Sub(time.Unix(0, list[0]*int64(segment)))
		fmt.Fprintf(w, "#EXT-X-START:TIME-OFFSET=%.3f,PRECISE=YES\n", max(offset, 0).Seconds())
	}
	fmt.Fprintf(w, "#EXT-X-MAP:URI=\"init.mp4\"\n")
	for i, n := range list {
		if n%loop == 0 || i > 0 && list[i-1] != n-1 {
			fmt.Fprintf(w, "#EXT-X-DISCONTINUITY\n")
		}
		fmt.Fprintf(w, "#EXT-X-PROGRAM-DATE-TIME:%s\n#EXTINF:2.0,\n%d.m4s\n", time.Unix(0, n*int64(segment)).UTC().Format("2006-01-02T15:04:05.000Z"), n%loop)
	}
	if ended {
		fmt.Fprintf(w, "#EXT-X-ENDLIST\n")
	}
}
