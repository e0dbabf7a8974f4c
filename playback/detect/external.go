package detect

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	stdimage "image"
	"image/jpeg"
	"math"
	"net/url"
	"regexp"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback/image"
)

// External is a detector of the user's: a program that is started here, or an
// HTTP service. It gets one picture at a time, as JPEG, and answers what is in
// it before it gets the next one; pictures that come meanwhile are left out.
//
// # A service
//
// Each picture is a POST to URL with Content-Type image/jpeg and the headers
//
//	Kineweir-Camera: front-door                      name of the stream
//	Kineweir-Time: 2026-11-23T16:10:01.480Z          when it was in front of the lens
//	Kineweir-Fragment: 9134385233…                   number of its fragment; absent when not known
//
// The answer is 200 with the JSON below, or 204 for nothing. 429 and 503 ask for
// a rest: of Retry-After seconds, or one. Anything else is an error.
//
// # A program
//
// Command is started once for each camera, when that is first live, with
// KINEWEIR_CAMERA in its environment. It reads from its standard input, for each picture, a line of JSON
//
//	{"camera":"front-door","time":"2026-11-23T16:10:01.480Z","fragment":"9134385233…","type":"image/jpeg","width":640,"height":360,"bytes":48211}
//
// and then that many bytes. It writes one line of the JSON below to its standard
// output for each. What it writes to its standard error goes to the log. It ends
// when its input does. One that ends earlier, answers late or answers nonsense is
// killed and started again, after a pause. Its first answer may take a minute, as
// models take their time to load.
//
// # The answer
//
//	{"detections":[{"label":"person","score":0.93,"box":[0.12,0.30,0.08,0.41],"attributes":{"colour":"red"}}]}
//
// label has up to 64 bytes; score is 0 to 1; box is left, top, width and height
// as parts of the picture, and may be left out; attributes may be left out. Up to
// 100 detections, 1 MiB.
type External struct {
	Name    string   // what events say of their origin, and what the log calls it
	URL     string   // of a service; or
	Command []string // a program and its arguments

	FPS      float64       // pictures a second; default 2
	Width    int           // of the pictures, pixels; default 640
	Height   int           // default 360
	Timeout  time.Duration // of one answer; default 5 s
	MinScore float64       // what is less sure is left out; default 0.5
	Sure     int           // how many pictures must show it; default 2
	Quiet    time.Duration // an event ends after so long without it; default 3 s
}

func (e External) withDefaults() External {
	e.Name = cmp.Or(e.Name, "detector")
	e.FPS = cmp.Or(e.FPS, 2)
	e.Width, e.Height = cmp.Or(e.Width, 640), cmp.Or(e.Height, 360)
	e.Timeout = cmp.Or(e.Timeout, 5*time.Second)
	e.MinScore = cmp.Or(e.MinScore, 0.5)
	e.Sure = cmp.Or(e.Sure, 2)
	e.Quiet = cmp.Or(e.Quiet, 3*time.Second)
	return e
}

// SureAfter returns how long after what it sees a detection may be told for the
// first time, when every answer takes as long as it may.
func (e External) SureAfter() time.Duration {
	e = e.withDefaults()
	return time.Duration(e.Sure) * max(e.Timeout, time.Duration(float64(time.Second)/e.FPS))
}

var externalName = regexp.MustCompile(`^[A-Za-z0-9_.@/-]{1,64}$`)

// Validate says what is wrong with the settings.
func (e External) Validate() error {
	e = e.withDefaults()
	if (e.URL == "") == (len(e.Command) == 0) {
		return errors.New("give the url of a service, or the command of a program")
	}
	if e.URL != "" {
		if u, err := url.Parse(e.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("url %q: write http://host:port/path", e.URL)
		}
	}
	switch {
	case !externalName.MatchString(e.Name):
		return fmt.Errorf("name %q: write 1 to 64 letters, digits and _.@/-", e.Name)
	case !(e.FPS >= 0.1 && e.FPS <= 30):
		return fmt.Errorf("fps %v: write 0.1 to 30", e.FPS)
	case e.Width < 16 || e.Width > 1920 || e.Height < 16 || e.Height > 1080:
		return fmt.Errorf("size %dx%d: write 16x16 to 1920x1080", e.Width, e.Height)
	case e.Timeout < 100*time.Millisecond || e.Timeout > time.Minute:
		return fmt.Errorf("timeout %v: write 100ms to 1m", e.Timeout)
	case !(e.MinScore >= 0 && e.MinScore <= 1):
		return fmt.Errorf("min_score %v: write 0 to 1", e.MinScore)
	case e.Sure < 1 || e.Sure > 100:
		return fmt.Errorf("sure %d: write 1 to 100 pictures", e.Sure)
	case e.Quiet < 500*time.Millisecond || e.Quiet > time.Minute:
		return fmt.Errorf("quiet %v: write 500ms to 1m", e.Quiet)
	}
	return nil
}

// picture is what a detector outside is given.
type picture struct {
	camera        fragments.StreamName
	at            time.Time
	fragment      fragments.Number
	width, height int
	jpeg          []byte
}

// outside is a detector outside. Its errors but restError end it.
type outside interface {
	detect(ctx context.Context, p *picture) ([]found, error)
	close()
}

// restError is the wish of a service for a rest.
type restError struct{ pause time.Duration }

func (e *restError) Error() string { return fmt.Sprintf("the service asks for a rest of %v", e.pause) }

// found is one detection of an answer.
type found struct {
	Label      string          `json:"label"`
	Score      float64         `json:"score"`
	Box        []float64       `json:"box"`
	Attributes json.RawMessage `json:"attributes"`
}

// Bounds of an answer.
const (
	maxAnswer = 1 << 20 // bytes
	maxFound  = 100
	maxLabel  = 64      // bytes
	maxExtra  = 8 << 10 // of attributes, as of the schema of events
)

// parseAnswer reads what a detector answers.
func parseAnswer(b []byte) ([]found, error) {
	var a struct {
		Detections []found `json:"detections"`
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("answer is not as agreed: %w", err)
	}
	if len(a.Detections) > maxFound {
		return nil, fmt.Errorf("answer has %d detections, at most %d are taken", len(a.Detections), maxFound)
	}
	for i := range a.Detections {
		if err := a.Detections[i].validate(); err != nil {
			return nil, fmt.Errorf("detection %d of the answer: %w", i+1, err)
		}
	}
	return a.Detections, nil
}

func (f *found) validate() error {
	if f.Label == "" || len(f.Label) > maxLabel {
		return fmt.Errorf("label has %d bytes, not 1 to %d", len(f.Label), maxLabel)
	}
	if !(f.Score >= 0 && f.Score <= 1) {
		return fmt.Errorf("score %v is not between 0 and 1", f.Score)
	}
	if n := len(f.Box); n != 0 && n != 4 {
		return fmt.Errorf("box has %d numbers, not 4", n)
	}
	for i, v := range f.Box {
		if math.IsNaN(v) || v < -0.01 || v > 1.01 {
			return fmt.Errorf("box %v: write parts of the picture, from 0 to 1", f.Box)
		}
		f.Box[i] = min(max(v, 0), 1)
	}
	if len(f.Box) == 4 {
		f.Box[2], f.Box[3] = min(f.Box[2], 1-f.Box[0]), min(f.Box[3], 1-f.Box[1])
	}
	if string(f.Attributes) == "null" {
		f.Attributes = nil
	}
	if len(f.Attributes) > maxExtra || len(f.Attributes) > 0 && f.Attributes[0] != '{' {
		return fmt.Errorf("attributes: write an object of up to %d bytes", maxExtra)
	}
	return nil
}

// firstAnswer is how long a program may take for its first answer, for models
// take their time to load.
const firstAnswer = time.Minute

// externalWatch is a detector outside and one camera. A program outlives the
// publishers of the stream, so that a camera that reconnects finds its model
// loaded.
type externalWatch struct {
	e        External
	det      outside // nil: there is none at the moment
	answered bool
	rest     time.Time // it wants to be left alone until then
}

// start makes the detector unless there is one.
func (x *externalWatch) start(ctx context.Context, w *watcher) error {
	if x.det != nil {
		return nil
	}
	if x.e.URL != "" {
		x.det, x.answered = newService(x.e), true
		return nil
	}
	p, err := startProgram(ctx, x.e, w.name, w.d.o.Log)
	if err != nil {
		return err
	}
	x.det, x.answered = p, false
	return nil
}

// close ends the detector.
func (x *externalWatch) close() {
	if x.det != nil {
		x.det.close()
		x.det = nil
	}
}

// watch has the detector look at a stream until that ends.
func (x *externalWatch) watch(ctx context.Context, w *watcher) error {
	if err := x.start(ctx, w); err != nil {
		return err
	}
	events := newTracker(w, x.e.Name, x.e.Sure, x.e.Quiet)
	defer func() { w.tell(events.close()) }()
	w.set(stateLooking, nil)
	var last time.Time
	slow := false
	for f, err := range w.d.o.Pictures.Watch(ctx, w.name, image.WatchOptions{Width: x.e.Width, Height: x.e.Height, FPS: x.e.FPS, Color: true}) {
		if err != nil {
			return err
		}
		if slow {
			w.count(func(s *Status) { s.Skipped += between(last, f.Time, x.e.FPS) })
		}
		last = f.Time
		begun := time.Now()
		list, err := x.look(ctx, f, w)
		slow = time.Since(begun) > time.Duration(float64(time.Second)/x.e.FPS)
		if err != nil {
			if ctx.Err() == nil {
				x.close() // it is in an unknown state
			}
			return fmt.Errorf("%s: %w", x.e.Name, err)
		}
		w.tell(events.see(f.Time, best(list, f, x.e.MinScore)))
	}
	return live.ErrEnded
}

// look asks the detector about one picture. While it wants to rest it is not
// asked.
func (x *externalWatch) look(ctx context.Context, f *image.Frame, w *watcher) ([]found, error) {
	if time.Now().Before(x.rest) {
		w.count(func(s *Status) { s.Skipped++ })
		return nil, nil
	}
	data, err := encode(f)
	if err != nil {
		return nil, err
	}
	timeout := x.e.Timeout
	if !x.answered {
		timeout = max(timeout, firstAnswer)
	}
	number, _ := w.fragmentOf(f.Time, f.Arrival)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	list, err := x.det.detect(ctx, &picture{camera: w.name, at: f.Time, fragment: number, width: f.Width, height: f.Height, jpeg: data})
	var wish *restError
	if errors.As(err, &wish) {
		x.rest = time.Now().Add(wish.pause)
		w.count(func(s *Status) { s.Skipped++ })
		return nil, nil
	}
	if err == nil {
		x.answered = true
		w.count(func(s *Status) { s.Pictures++ })
	}
	return list, err
}

// between returns how many pictures were left out between two.
func between(last, at time.Time, fps float64) int64 {
	if last.IsZero() {
		return 0
	}
	return max(0, int64(math.Round(at.Sub(last).Seconds()*fps))-1)
}

// encode makes a JPEG of a frame of three bytes per pixel.
func encode(f *image.Frame) ([]byte, error) {
	if f.Channels != 3 || len(f.Pix) != 3*f.Width*f.Height {
		return nil, fmt.Errorf("picture of %d bytes for %dx%d, %d channels", len(f.Pix), f.Width, f.Height, f.Channels)
	}
	img := stdimage.NewRGBA(stdimage.Rect(0, 0, f.Width, f.Height))
	for i, j := 0, 0; i < len(f.Pix); i, j = i+3, j+4 {
		img.Pix[j], img.Pix[j+1], img.Pix[j+2], img.Pix[j+3] = f.Pix[i], f.Pix[i+1], f.Pix[i+2], 0xff
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 85})
	return b.Bytes(), err
}

// best are the surest detections of each label.
func best(list []found, f *image.Frame, minScore float64) []sighting {
	byLabel := map[string]int{}
	var out []sighting
	for _, d := range list {
		if d.Score < minScore {
			continue
		}
		s := sighting{at: f.Time, arrival: f.Arrival, label: d.Label, score: d.Score, extra: d.Attributes}
		if len(d.Box) == 4 {
			s.box = (*Box)(d.Box)
		}
		i, seen := byLabel[d.Label]
		switch {
		case !seen:
			byLabel[d.Label] = len(out)
			out = append(out, s)
		case d.Score > out[i].score:
			out[i] = s
		}
	}
	return out
}
