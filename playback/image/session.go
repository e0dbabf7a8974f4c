package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
	"github.com/kineweir/kineweir/fragments/live"
)

// Times of what a watch feeds are half microseconds: those of frames are even.
// Those of a key frame that is fed once more, to drive it out of a decoder that
// would wait for frames to reorder, are odd.
const (
	watchScale = 2_000_000
	// reorderRoom is how much earlier than it is decoded a frame may be shown.
	reorderRoom = 10 * watchScale
	// lateBy is when a decoder that had kept up is too slow, and gets key frames
	// alone until it has caught up.
	lateBy = 5 * time.Second
	// unanswered is how many units are fed without getting a frame before the
	// decoder is suspected; none holds back that many.
	unanswered = 64
)

// errAnew ends a session that another can continue at once.
var errAnew = errors.New("the video has changed")

// session is one process of a watch.
type session struct {
	w     *watch
	ctx   context.Context // of the watch
	track *fragments.Track
	hash  fragments.ConfigHash
	film  *fragments.Track // as it is fed
	p     *process
	stdin *os.File

	base     int64  // PTS of the first unit
	dts      int64  // of the newest
	newest   int64  // presentation time of the newest, since base
	sequence uint32 // of the last part
	lastKey  int64  // presentation time of the newest key frame that was fed
	buf      []byte
	caughtUp bool
	behind   bool // waits for a key frame

	got  atomic.Int64 // frames
	fed  atomic.Int64 // units since the last frame
	when atomic.Int64 // of the last frame, Unix nanoseconds

	mu    sync.Mutex // guards the fields below
	units int        // that were fed
	ring  [1024]placed
}

// placed is a unit that was fed.
type placed struct {
	pts   int64
	frame Frame // without a picture
}

// run feeds a process until it or the stream ends.
func (s *session) run() (err error) {
	sub, err := s.w.m.o.Hub.Subscribe(s.w.name, live.SubscribeOptions{})
	if err != nil {
		return err
	}
	defer sub.Close()
	s.w.seen = true
	au, err := s.first(sub)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	lead, first := s.lead(au), au
	if len(lead) > 0 {
		first = lead[0]
	}
	init, err := s.begin(ctx, first)
	if err != nil {
		return err
	}
	read := make(chan error, 1)
	go func() {
		read <- s.read()
		cancel() // feeding is of no use any more
	}()
	if err = s.write(init); err == nil {
		err = s.feed(ctx, sub, lead, au)
	}
	s.stdin.Close() //nolint:errcheck // a pipe
	if errors.Is(err, live.ErrEnded) || errors.Is(err, errAnew) {
		s.finish(cancel, read) // what it still has is wanted
		s.p.wait()             //nolint:errcheck // however it ended, this is over
		return err
	}
	cancel()
	failed := <-read
	return s.why(err, failed, s.p.wait())
}

// why returns why a process gives no more frames: by what feeding it, reading
// it and itself have ended with.
func (s *session) why(fed, read, end error) error {
	said := s.p.said
	switch {
	case !s.w.m.oldFFmpeg.Load() && said.unknownMode():
		s.w.m.oldFFmpeg.Store(true)
		return errAnew
	case read != nil:
		return read
	case said.outOfMemory():
		return fmt.Errorf("the decoder needs more than %d MiB (images.max_memory)", s.w.m.o.MaxMemory>>20)
	case said.words() != "":
		return fmt.Errorf("the decoder says: %s", said.words())
	case errors.Is(fed, context.Canceled) || errors.Is(fed, syscall.EPIPE):
		return fmt.Errorf("the decoder has ended: %w", cmp.Or(end, io.EOF))
	}
	return fed
}

// first waits for the key frame to begin with, of the first track of video.
func (s *session) first(sub *live.Subscription) (*fragments.AccessUnit, error) {
	track := 0
	for _, t := range sub.Tracks() {
		if t.Kind() == fragments.KindVideo && (track == 0 || t.ID < track) {
			track = t.ID
		}
	}
	for {
		au, err := sub.Next(s.ctx)
		if err != nil {
			return nil, err
		}
		if au.Key && au.Track.ID == track {
			return au, nil
		}
	}
}

// lead returns the units of WatchOptions.Before that lead up to au. Only the
// first process begins with them.
func (s *session) lead(au *fragments.AccessUnit) (lead []*fragments.AccessUnit) {
	before := s.w.o.Before
	if s.w.o.Before = nil; s.w.o.KeysOnly {
		return nil
	}
	for _, b := range before {
		switch {
		case b.Track.ID != au.Track.ID || len(lead) == 0 && !b.Key:
		case b == au:
			return lead
		case b.Key && b.Track.Hash() != au.Track.Hash():
			lead = nil
		default:
			lead = append(lead, b)
		}
	}
	if n := len(lead); n == 0 || lead[n-1].PTS >= au.PTS {
		return nil
	}
	return lead // some are missing in between, which a key frame makes good
}

// begin starts the process for the configuration of au.
func (s *session) begin(ctx context.Context, au *fragments.AccessUnit) (init []byte, err error) {
	s.track = au.Track
	s.hash = s.track.Hash()
	film := *s.track
	film.TimeScale = watchScale
	s.film = &film
	if init, err = cmaf.InitSegment(&film); err != nil {
		return nil, err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start a decoder: %w", err)
	}
	s.stdin = out
	s.p, err = s.w.m.start(ctx, in, s.args())
	in.Close() //nolint:errcheck // the process has its own
	if err != nil {
		out.Close() //nolint:errcheck // nothing was written
		return nil, err
	}
	s.base, s.dts, s.lastKey = au.PTS, -1, -1<<62
	s.when.Store(time.Now().UnixNano())
	return init, nil
}

// finish waits for the frames that the process still has, not for long.
func (s *session) finish(kill context.CancelFunc, read <-chan error) {
	timer := time.NewTimer(s.w.m.o.Timeout)
	defer timer.Stop()
	select {
	case <-read:
		return
	case <-s.ctx.Done():
	case <-timer.C:
	}
	kill()
	<-read
}

// feed writes units until there are none, or none that this process can take.
func (s *session) feed(ctx context.Context, sub *live.Subscription, lead []*fragments.AccessUnit, au *fragments.AccessUnit) error {
	for _, b := range lead {
		if err := s.put(b); err != nil {
			return err
		}
	}
	for {
		if s.wanted(au) {
			if au.Key && au.Track.Hash() != s.hash {
				return errAnew
			}
			if err := s.put(au); err != nil {
				return err
			}
		}
		var err error
		if au, err = sub.Next(ctx); err != nil {
			return err
		}
		silent := time.Since(time.Unix(0, s.when.Load()))
		if s.fed.Load() > unanswered && silent > s.w.m.o.Timeout {
			return fmt.Errorf("the decoder gave no frame for %s", silent.Round(time.Second))
		}
	}
}

// wanted reports whether a unit is to be fed.
func (s *session) wanted(au *fragments.AccessUnit) bool {
	if au.Track.ID != s.track.ID {
		return false
	}
	late := time.Since(au.Arrival.Time())
	if late < time.Second {
		s.caughtUp = true
	}
	if au.Key {
		s.behind = false
	} else if s.caughtUp && late > lateBy {
		s.behind = true
	}
	return au.Key || !s.behind && !s.w.o.KeysOnly
}

// put feeds one unit.
func (s *session) put(au *fragments.AccessUnit) error {
	since := nanos(au.PTS-s.base, s.track.TimeScale) / 500 &^ 1
	s.newest = max(s.newest, since)
	dts := max(s.dts+1, s.newest)
	if offset := since + reorderRoom - dts; offset < 0 || offset > 2*reorderRoom {
		return errAnew // time has run back
	}
	again := 0
	if s.w.o.KeysOnly {
		if f := s.w.o.FPS; f > 0 && float64(since-s.lastKey) < watchScale/f*0.99 {
			return nil
		}
		again = repeats(s.track)
	}
	if au.Key {
		s.lastKey = since
	}
	pts := since + reorderRoom
	s.mu.Lock()
	s.ring[s.units%len(s.ring)] = placed{pts, Frame{
		Time: au.Capture.Time(), Arrival: au.Arrival.Time(), PTS: time.Duration(nanos(au.PTS, s.track.TimeScale)),
	}}
	s.units++
	s.mu.Unlock()
	sample := fragments.Sample{Duration: 1, Key: au.Key, Payload: au.Payload}
	s.buf = s.buf[:0]
	for i := range again + 1 {
		s.sequence++
		sample.Offset = uint32(pts - dts)
		s.buf = cmaf.AppendPart(s.buf, s.film, s.sequence, dts, []fragments.Sample{sample})
		s.dts = dts
		pts, dts = pts|1+2*int64(min(i, 1)), dts+1
	}
	s.fed.Add(1)
	return s.write(s.buf)
}

// repeats returns how often a key frame is fed once more so that its picture
// comes out before the next one is there: once, for the reader of the file looks
// at the next before it gives the last; as often as the decoder holds frames
// back; and where frames may hold several, once for the search for them.
func repeats(t *fragments.Track) int {
	switch {
	case t.Codec != fragments.H264 && t.Codec != fragments.H265:
		return 2
	case t.Reorder < 0:
		return 3 // what most encoders reorder
	}
	return 1 + min(t.Reorder, 16)
}

// write writes to the process, which must not let it wait for ever.
func (s *session) write(b []byte) error {
	if err := s.stdin.SetWriteDeadline(time.Now().Add(s.w.m.o.Timeout)); err != nil {
		return err
	}
	_, err := s.stdin.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the decoder read nothing for %s", s.w.m.o.Timeout)
	}
	return err
}

// read reads the frames of the process up to its end.
func (s *session) read() error {
	o := &s.w.o
	for {
		pix := make([]byte, o.Width*o.Height*o.channels())
		if _, err := io.ReadFull(s.p.out, pix); err != nil {
			return nil // it has ended; how, its end says
		}
		pts, err := s.p.numbers.next()
		if err != nil {
			return nil
		}
		s.fed.Store(0)
		s.when.Store(time.Now().UnixNano())
		f, ok := s.frameOf(pts)
		if !ok {
			return fmt.Errorf("the decoder gave a frame it was not fed, of time %d", pts)
		}
		s.got.Add(1)
		f.Width, f.Height, f.Channels, f.Pix = o.Width, o.Height, o.channels(), pix
		s.w.hand(&f)
	}
}

// frameOf returns what is known of the frame of a presentation time.
func (s *session) frameOf(pts int64) (Frame, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.ring[:min(s.units, len(s.ring))] {
		if p := &s.ring[i]; p.pts == pts {
			return p.frame, true
		}
	}
	return Frame{}, false
}

// args returns the arguments of ffmpeg.
func (s *session) args() []string {
	o := &s.w.o
	var chain []string
	switch {
	case o.KeysOnly:
		chain = append(chain, "select='not(mod(pts,2))'")
	case o.FPS > 0:
		// One of each 1/FPS of time.
		chain = append(chain, fmt.Sprintf("select='isnan(prev_selected_t)+gt(floor(t*%[1]g+0.001),floor(prev_selected_t*%[1]g+0.001))'", o.FPS))
	}
	format := "gray"
	if o.Color {
		format = "rgb24"
	}
	input := []string{"-fpsprobesize", "0"}
	if o.Rough {
		input = append(input, "-skip_frame", "noref")
	}
	chain = append(chain, fmt.Sprintf("scale=%d:%d:flags=area:out_range=pc", o.Width, o.Height), "format="+format, tell)
	return slices.Concat(inputArgs(input...), []string{
		"-vf", strings.Join(chain, ","), passthrough(s.w.m.oldFFmpeg.Load()), "passthrough", "-an", "-sn", "-dn",
		"-c:v", "rawvideo", "-flush_packets", "1", "-f", "rawvideo", "pipe:1",
	})
}
