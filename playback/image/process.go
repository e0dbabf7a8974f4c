package image

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// process is a running ffmpeg. Whoever starts one reads it up to its end and
// then calls wait.
type process struct {
	cmd     *exec.Cmd
	out     *bufio.Reader // what it writes to its standard output
	numbers numbers       // of the frames that it writes
	pipes   []*os.File    // the ends that are read
	said    *tail
	begun   time.Time
}

// niceness of decoders: pictures can wait, recording cannot.
const niceness = 10

// start starts ffmpeg with arguments. It is killed, with all that it has
// started, when ctx ends. The error is a *NoDecoderError when there is none.
func (m *Maker) start(ctx context.Context, stdin io.Reader, args []string) (*process, error) {
	path, err := exec.LookPath(m.o.FFmpeg)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, &NoDecoderError{m.o.FFmpeg, err}
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start a decoder: %w", err)
	}
	numR, numW, err := os.Pipe()
	if err != nil {
		closeAll(outR, outW)
		return nil, fmt.Errorf("start a decoder: %w", err)
	}
	p := &process{pipes: []*os.File{outR, numR}, said: &tail{}, begun: time.Now()}
	p.out, p.numbers.r = bufio.NewReaderSize(outR, 64<<10), bufio.NewReaderSize(numR, 4<<10)
	p.cmd = exec.CommandContext(ctx, path, args...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, outW, p.said
	p.cmd.ExtraFiles = []*os.File{numW} // descriptor 3
	p.cmd.Env = environment(os.Environ())
	p.cmd.WaitDelay = time.Second // for a grandchild that keeps a pipe open
	p.cmd.Cancel = func() error {
		err := killGroup(p.cmd.Process)
		// Reading ends even if somebody out of reach holds the other ends.
		closeAll(p.pipes...)
		return err
	}
	ownGroup(p.cmd)
	err = p.cmd.Start()
	closeAll(outW, numW)
	if err != nil {
		closeAll(p.pipes...)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &NoDecoderError{m.o.FFmpeg, err}
	}
	if err := limit(p.cmd.Process.Pid, m.o.MaxMemory); err != nil {
		// It may have ended already; wait says why.
		m.o.Log.Debug("limit a decoder", "pid", p.cmd.Process.Pid, "error", err)
	}
	return p, nil
}

// wait waits for the end of the process; nil when it was content.
func (p *process) wait() error {
	closeAll(p.pipes...)
	return p.cmd.Wait()
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		f.Close() //nolint:errcheck // pipes; twice is fine
	}
}

// environment returns the variables that a decoder gets: where libraries are
// found, and nothing that could be a secret or change what it does.
func environment(all []string) []string {
	keep := []string{"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HOME", "TMPDIR", "SYSTEMROOT"}
	env := []string{"LC_ALL=C", "AV_LOG_FORCE_NOCOLOR=1"}
	for _, v := range all {
		if name, _, _ := strings.Cut(v, "="); slices.Contains(keep, strings.ToUpper(name)) {
			env = append(env, v)
		}
	}
	return env
}

// tail keeps the last of what a process says.
type tail struct {
	mu  sync.Mutex // guards the field below
	buf []byte
}

const tailBytes = 4 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailBytes; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) contains(s string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Contains(t.buf, []byte(s))
}

// words returns the last line, for people.
func (t *tail) words() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.buf)), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if strings.HasPrefix(last, "[") { // the part of ffmpeg that says it, and its address
		if _, rest, ok := strings.Cut(last, "] "); ok {
			last = rest
		}
	}
	return fmt.Sprintf("%.300s", strings.ToValidUTF8(last, "?"))
}

// unknownMode reports whether the decoder is too old for -fps_mode.
func (t *tail) unknownMode() bool {
	return t.contains("Unrecognized option 'fps_mode'") || t.contains("Option fps_mode not found")
}

// outOfMemory reports whether the process said that it was refused memory.
func (t *tail) outOfMemory() bool {
	return t.contains("Cannot allocate memory") || t.contains("out of memory") || t.contains("Out of memory")
}

// killed reports whether a process was ended by a signal, and not by us.
func killed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && !exit.Exited()
}
