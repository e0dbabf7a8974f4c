package detect

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// program is a detector that runs as a process of its own.
type program struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan answer // of its output; closed at its end
	stop  context.CancelFunc
	all   sync.WaitGroup
	limit time.Duration // until it has read what it answers
	buf   []byte
}

type answer struct {
	line []byte
	err  error
}

// byeTime is how long a program may take to end when its input has.
const byeTime = 2 * time.Second

// startProgram starts the program of a camera. It ends with close.
func startProgram(ctx context.Context, e External, name fragments.StreamName, log *slog.Logger) (*program, error) {
	// Not ended by ctx, so that close can let it end by itself.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := &program{cmd: exec.CommandContext(ctx, e.Command[0], e.Command[1:]...), lines: make(chan answer), stop: stop, limit: e.Timeout}
	ownGroup(p.cmd)
	p.cmd.Cancel = func() error { return killGroup(p.cmd.Process) }
	p.cmd.Env = append(os.Environ(), "KINEWEIR_CAMERA="+string(name))
	p.cmd.WaitDelay = byeTime
	in, err := p.cmd.StdinPipe()
	if err != nil {
		stop()
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		stop()
		return nil, err
	}
	complaints, err := p.cmd.StderrPipe()
	if err != nil {
		stop()
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		stop()
		return nil, fmt.Errorf("start the detector: %w", err)
	}
	p.in = in
	p.all.Go(func() { p.read(ctx, out) })
	p.all.Go(func() { copyLog(complaints, log.With("stream", string(name), "detector", e.Name)) })
	return p, nil
}

// read hands on the lines of the program.
func (p *program) read(ctx context.Context, out io.Reader) {
	defer close(p.lines)
	r := bufio.NewScanner(out)
	r.Buffer(make([]byte, 0, 4096), maxAnswer)
	send := func(a answer) bool {
		select {
		case p.lines <- a:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for r.Scan() {
		if !send(answer{line: append([]byte(nil), r.Bytes()...)}) {
			return
		}
	}
	err := r.Err()
	if err == nil {
		err = errors.New("the program has ended")
	}
	send(answer{err: err})
}

// copyLog logs what a program complains of, line by line; long lines are cut.
func copyLog(from io.Reader, log *slog.Logger) {
	r := bufio.NewReaderSize(from, 1024)
	for {
		line, more, err := r.ReadLine()
		if len(line) > 0 {
			log.Info("detector says: " + string(line))
		}
		for more && err == nil {
			_, more, err = r.ReadLine()
		}
		if err != nil {
			return
		}
	}
}

func (p *program) detect(ctx context.Context, pic *picture) ([]found, error) {
	head := struct {
		Camera   fragments.StreamName `json:"camera"`
		Time     time.Time            `json:"time"`
		Fragment string               `json:"fragment,omitempty"`
		Type     string               `json:"type"`
		Width    int                  `json:"width"`
		Height   int                  `json:"height"`
		Bytes    int                  `json:"bytes"`
	}{Camera: pic.camera, Time: pic.at.UTC(), Type: "image/jpeg", Width: pic.width, Height: pic.height, Bytes: len(pic.jpeg)}
	if !pic.fragment.IsZero() {
		head.Fragment = pic.fragment.String()
	}
	line, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	p.buf = append(append(append(p.buf[:0], line...), '\n'), pic.jpeg...)
	wrote := make(chan error, 1)
	p.all.Go(func() {
		_, err := p.in.Write(p.buf)
		wrote <- err
	})
	select {
	case a, ok := <-p.lines:
		switch {
		case !ok:
			return nil, errors.New("the program has ended")
		case a.err != nil:
			return nil, a.err
		}
		if err := p.written(ctx, wrote); err != nil {
			return nil, err
		}
		return parseAnswer(a.line)
	case <-ctx.Done():
		p.stop() // it is in an unknown state
		return nil, fmt.Errorf("no answer in time: %w", context.Cause(ctx))
	}
}

// written waits until the program has the whole picture, which it should have
// when it answers.
func (p *program) written(ctx context.Context, wrote <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	select {
	case err := <-wrote:
		if err != nil {
			return fmt.Errorf("give it a picture: %w", err)
		}
		return nil
	case <-ctx.Done():
		p.stop()
		return errors.New("the program answers without reading the picture")
	}
}

// close lets the program end by itself, kills it when it does not, and waits.
func (p *program) close() {
	p.in.Close()
	bye := time.AfterFunc(byeTime, p.stop)
	defer bye.Stop()
	_ = p.cmd.Wait() // how it ended is of no interest any more
	p.stop()
	p.all.Wait()
}
