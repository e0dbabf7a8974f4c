package image_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/image"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

// fake writes an ffmpeg that is a shell script. A process is told to write no
// files: what there is to tell it tells by folders it makes in $DIR.
func fake(tb testing.TB, script string) (path, dir string) {
	tb.Helper()
	dir = tb.TempDir()
	path = filepath.Join(tb.TempDir(), "ffmpeg")
	genuine, err := exec.LookPath("ffmpeg")
	if err != nil {
		tb.Fatal("install the package ffmpeg")
	}
	text := "#!/bin/sh\nDIR=" + dir + "\nFFMPEG=" + genuine + "\n" + script + "\n"
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		tb.Fatal(err)
	}
	return path, dir
}

// told waits for n folders, and returns their names.
func told(tb testing.TB, dir string, n int) (names []string) {
	tb.Helper()
	within(tb, fmt.Sprintf("%d signs of life", n), func() bool {
		names = nil
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return err == nil && len(names) >= n
	})
	return names
}

func within(tb testing.TB, what string, f func() bool) {
	tb.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("no %s within 20 s", what)
		}
	}
}

// gone waits for the end of processes. One that nobody has waited for yet, for
// its parent has ended too, counts as ended.
func gone(tb testing.TB, pids ...string) {
	tb.Helper()
	for _, pid := range pids {
		within(tb, "end of process "+pid, func() bool {
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			_, rest, _ := strings.Cut(string(stat), ") ")
			return err != nil || strings.HasPrefix(rest, "Z")
		})
	}
}

// hangs never ends, and neither does what it has started.
const hangs = "mkdir $DIR/$$\nsleep 1000 &\nmkdir $DIR/$!\nwait"

func TestDecoderThatFails(t *testing.T) {
	a := record(t, plain)
	for _, c := range []struct {
		name, script string
		o            image.Options
		says         string
		timeout      bool
	}{
		{"hangs", hangs, image.Options{Timeout: 300 * time.Millisecond}, "took more than 300ms", true},
		{"hangs after having read", "cat >/dev/null; sleep 1000", image.Options{Timeout: 300 * time.Millisecond}, "took more than 300ms", true},
		{"fails", "echo nonsense >&2; echo 'it is [broken] too' >&2; exit 3", image.Options{}, "says: it is [broken] too", false},
		{"says nothing", "exit 0", image.Options{}, "found no picture", false},
		{"dies", "kill -9 $$", image.Options{}, "died, twice", false},
		{"talks without end", "yes >&2", image.Options{Timeout: 300 * time.Millisecond}, "took more than", true},
		{"gives no picture", "cat /dev/zero", image.Options{}, "no JPEG begins here", false},
		{"gives a picture without end", `printf '\377\330\377\332\000\002'; cat /dev/zero`, image.Options{Timeout: time.Minute}, "more than 64 MiB", false},
		{"gives half a picture", `printf '\377\330\377\332'`, image.Options{}, "found no picture", false},
		{"gives another picture", `printf '\377\330\377\331'; echo 'frame:0 pts:77 pts_time:1' >&3`, image.Options{}, "nobody wanted, of time 77", false},
		{"has no memory", "while [ $(ulimit -v) = unlimited ]; do :; done; echo Cannot allocate memory >&2; exit 1", image.Options{MaxMemory: 600 << 20}, "needs more than 600 MiB (images.max_memory)", false},
		{"is limited", "while [ $(ulimit -v) = unlimited -o $(ulimit -f) = unlimited -o $(nice) = 0 ]; do :; done; echo $(ulimit -v) $(ulimit -f) $(ulimit -c) $(nice) $SECRET. >&2", image.Options{}, "says: 1048576 0 0 10 .", false},
		{"takes all the memory it gets", "exec $FFMPEG \"$@\"", image.Options{MaxMemory: 64 << 20}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "is limited" {
				t.Setenv("SECRET", "leaked")
			}
			var dir string
			c.o.FFmpeg, dir = fake(t, c.script)
			m := newMaker(t, a, c.o)
			_, err := m.Picture(context.Background(), "front", image.Request{Time: at(40)})
			var bad *image.DecodeError
			if !errors.As(err, &bad) || !strings.Contains(bad.Reason, c.says) || bad.Timeout != c.timeout || bad.Codec != fragments.H264 {
				t.Errorf("got %v, want a DecodeError that says %q", err, c.says)
			}
			if c.script == hangs {
				gone(t, told(t, dir, 2)...)
			}
			if s := m.Stats(); s.Running != 0 || s.Failed != 1 {
				t.Errorf("then: %+v", s)
			}
		})
	}
}

func TestNoDecoder(t *testing.T) {
	a := record(t, plain)
	hub := live.New()
	u := units(t, plain)
	p := hub.Publish("front", []*fragments.Track{u[0].Track})
	defer p.Close()
	p.Write(u[0])
	noExec := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(noExec, []byte("not a program"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "")
	for _, ffmpeg := range []string{"", "ffmpeg", "/nowhere/ffmpeg", noExec} {
		m := newMaker(t, a, image.Options{FFmpeg: ffmpeg, Hub: hub})
		check := func(what string, err error) {
			t.Helper()
			var none *image.NoDecoderError
			if !errors.As(err, &none) || !strings.Contains(err.Error(), "install the package ffmpeg") || !strings.Contains(err.Error(), "images.ffmpeg") {
				t.Errorf("%q, %s: %v", ffmpeg, what, err)
			}
		}
		_, err := m.Picture(context.Background(), "front", image.Request{Time: at(40)})
		check("picture", err)
		n := 0
		for _, err := range m.Pictures(context.Background(), "front", playback.Range{Start: at(0), End: at(99)}, frameTime, image.Request{}) {
			check("pictures", err)
			n++
		}
		for _, err := range m.Watch(context.Background(), "front", image.WatchOptions{Width: 64, Height: 32}) {
			check("watch", err)
			n++
		}
		if n != 2 {
			t.Errorf("%q: %d errors of two loops", ffmpeg, n)
		}
	}
}

// TestKilled kills the process of a picture, which is then made by another.
func TestKilled(t *testing.T) {
	ffmpeg, dir := fake(t, "mkdir $DIR/$$\n[ $(ls $DIR | wc -l) = 1 ] && exec sleep 1000\nexec $FFMPEG \"$@\"")
	m := newMaker(t, record(t, plain), image.Options{FFmpeg: ffmpeg})
	made := make(chan *image.Picture)
	go func() {
		p, err := m.Picture(context.Background(), "front", image.Request{Time: at(40)})
		if err != nil {
			t.Error(err)
		}
		made <- p
	}()
	pid, _ := strconv.Atoi(told(t, dir, 1)[0])
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if p := <-made; p != nil && number(t, p) != 40 {
		t.Error("another picture")
	}
}

// TestGivenUp cancels requests: the process of the last who waits is killed.
func TestGivenUp(t *testing.T) {
	ffmpeg, dir := fake(t, hangs)
	m := newMaker(t, record(t, plain), image.Options{FFmpeg: ffmpeg})
	errs := make(chan error, 2)
	ask := func() (cancel context.CancelFunc) {
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			_, err := m.Picture(ctx, "front", image.Request{Time: at(40)})
			errs <- err
		}()
		return cancel
	}
	one, other := ask(), ask()
	pids := told(t, dir, 2)
	within(t, "second request", func() bool { return m.Stats().Joined == 1 })
	one()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	select {
	case err := <-errs:
		t.Fatalf("the process of two was killed for one: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	other()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	gone(t, pids...)
	within(t, "free worker", func() bool { return m.Stats().Running == 0 })
}

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	ffmpeg, dir := fake(t, hangs)
	hub := live.New()
	m := newMaker(t, record(t, plain), image.Options{FFmpeg: ffmpeg, Hub: hub, Workers: 2})
	u := units(t, plain)
	p := hub.Publish("cam", []*fragments.Track{u[0].Track})
	p.Write(u[0])
	errs := make(chan error, 5)
	for i := range 4 { // two of them wait
		go func() {
			_, err := m.Picture(context.Background(), "front", image.Request{Time: at(40), Quality: 50 + i})
			errs <- err
		}()
	}
	go func() {
		for _, err := range m.Watch(context.Background(), "cam", image.WatchOptions{Width: 64, Height: 32}) {
			errs <- err
		}
	}()
	pids := told(t, dir, 6)
	within(t, "waiting requests", func() bool { return m.Stats().Waiting == 2 })
	m.Close()
	for range 5 {
		if err := <-errs; !errors.Is(err, image.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	}
	gone(t, pids...)
	p.Close()
	within(t, "end of goroutines", func() bool { return runtime.NumGoroutine() <= before })
	if _, err := m.Picture(context.Background(), "front", image.Request{Time: at(40)}); !errors.Is(err, image.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	for _, err := range m.Watch(context.Background(), "cam", image.WatchOptions{Width: 64, Height: 32}) {
		if !errors.Is(err, image.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	}
}

// TestCrowd asks for a hundred pictures at once where ten may wait.
func TestCrowd(t *testing.T) {
	ffmpeg, _ := fake(t, "sleep 0.05; exec $FFMPEG \"$@\"")
	m := newMaker(t, record(t, plain), image.Options{FFmpeg: ffmpeg, Workers: 2, Queue: 10})
	var all sync.WaitGroup
	var mu sync.Mutex
	made, busy := 0, 0
	for i := range 100 {
		all.Go(func() {
			_, err := m.Picture(context.Background(), "front", image.Request{Time: at(float64(i) * 0.9)})
			mu.Lock()
			defer mu.Unlock()
			var b *image.BusyError
			switch {
			case err == nil:
				made++
			case errors.As(err, &b) && b.After > 0:
				busy++
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if made < 12 || busy == 0 || made+busy != 100 {
		t.Errorf("%d made, %d refused", made, busy)
	}
	if s := m.Stats(); s.Running != 0 || s.Waiting != 0 || s.Refused != int64(busy) {
		t.Errorf("then: %+v", s)
	}
	picture(t, m, image.Request{Time: at(99.5)})
}

// TestOldDecoder has an ffmpeg that knows no -fps_mode.
func TestOldDecoder(t *testing.T) {
	ffmpeg, _ := fake(t, `case "$*" in *fps_mode*) echo "Unrecognized option 'fps_mode'." >&2; exit 1;; esac; exec $FFMPEG "$@"`)
	for range 2 {
		hub := live.New()
		m := newMaker(t, record(t, plain), image.Options{FFmpeg: ffmpeg, Hub: hub})
		done := publish(hub, units(t, plain)[:20], time.Millisecond)
		n := 0
		for _, err := range m.Watch(context.Background(), "front", image.WatchOptions{Width: 64, Height: 32}) {
			if err == nil {
				n++
			} else if !errors.Is(err, live.ErrEnded) {
				t.Error(err)
			}
		}
		<-done
		if n == 0 {
			t.Error("no frames")
		}
		if p := picture(t, m, image.Request{Time: at(45), Exact: true}); number(t, p) != 45 {
			t.Error("another frame")
		}
	}
}

// TestWatchStartsAgain kills the process of a watch.
func TestWatchStartsAgain(t *testing.T) {
	ffmpeg, dir := fake(t, "mkdir $DIR/$$; exec $FFMPEG \"$@\"")
	hub := live.New()
	m := newMaker(t, playbacktest.New(), image.Options{Hub: hub, FFmpeg: ffmpeg})
	done := publish(hub, units(t, plain), 20*time.Millisecond)
	killed, after := false, 0
	last := -1
	for f, err := range m.Watch(context.Background(), "front", image.WatchOptions{Width: 64, Height: 32}) {
		if err != nil {
			if !errors.Is(err, live.ErrEnded) {
				t.Error(err)
			}
			break
		}
		n := shownBy(f)
		if n <= last {
			t.Errorf("frame %d after %d", n, last)
		}
		last = n
		switch {
		case !killed:
			killed = true
			pid, _ := strconv.Atoi(told(t, dir, 1)[0])
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		default:
			after++
		}
	}
	<-done
	if s := m.Stats(); after == 0 || s.Restarts == 0 {
		t.Errorf("%d frames after the end of the process: %+v", after, s)
	}
}

// TestWatchGivesUp has a decoder that never gives a frame.
func TestWatchGivesUp(t *testing.T) {
	t.Parallel()
	ffmpeg, _ := fake(t, "echo bad luck >&2; exit 1")
	hub := live.New()
	m := newMaker(t, playbacktest.New(), image.Options{Hub: hub, FFmpeg: ffmpeg})
	u := units(t, plain)
	p := hub.Publish("front", []*fragments.Track{u[0].Track})
	defer p.Close()
	p.Write(u[0])
	n := 0
	for _, err := range m.Watch(context.Background(), "front", image.WatchOptions{Width: 64, Height: 32}) {
		var bad *image.DecodeError
		if n++; !errors.As(err, &bad) || !strings.Contains(err.Error(), "bad luck") {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d errors", n)
	}
	for _, o := range []image.WatchOptions{{}, {Width: 5000, Height: 5}, {Width: 5, Height: 5, FPS: -1}} {
		for _, err := range m.Watch(context.Background(), "front", o) {
			if err == nil || !strings.Contains(err.Error(), "want 1 to 4096") {
				t.Errorf("%+v: %v", o, err)
			}
		}
	}
	for _, err := range m.Watch(context.Background(), "nobody", image.WatchOptions{Width: 5, Height: 5}) {
		if !errors.Is(err, live.ErrNotLive) {
			t.Error(err)
		}
	}
}

// hungArchive is one whose bucket does not answer.
type hungArchive struct{ image.Archive }

func (hungArchive) ReadRun(ctx context.Context, _ fragments.StreamName, _ *archive.Entry, _ int) ([]byte, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("get object: %w", ctx.Err())
}

// A bucket that does not answer is not waited for longer than a decoder is.
func TestBucketHangs(t *testing.T) {
	m := newMaker(t, hungArchive{record(t, plain)}, image.Options{Timeout: 200 * time.Millisecond})
	begun := time.Now()
	var slow *image.SlowError
	if _, err := m.Picture(context.Background(), "front", image.Request{Time: at(50)}); !errors.As(err, &slow) || time.Since(begun) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := m.Picture(ctx, "front", image.Request{Time: at(50)}); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &slow) {
		t.Errorf("given up by who asked: %v", err)
	}
}
