package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	stdimage "image"
	_ "image/jpeg" // size of pictures
	_ "image/png"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// decode has shots of one track made into pictures by one process. f gets them
// as they come, by the index of their shot; those that could not be decoded are
// left out. The error is a *DecodeError when there is none at all.
func (m *Maker) decode(ctx context.Context, name fragments.StreamName, r *Request, shots []*shot, f func(int, *Picture) error) error {
	track := shots[0].track
	if track.Kind() != fragments.KindVideo {
		return &DecodeError{Stream: name, Codec: track.Codec, Reason: "it is no video that is known here"}
	}
	film, err := newFilm(shots)
	if err != nil {
		return &DecodeError{Stream: name, Codec: track.Codec, Reason: err.Error(), Err: err}
	}
	if err := m.pool.acquire(ctx); err != nil {
		m.refused(err)
		return err
	}
	defer m.pool.release()
	d := &developing{m: m, name: name, r: r, shots: shots, film: film, f: f}
	for try := 1; ; try++ {
		err := d.run(ctx)
		again := errors.Is(err, errAgain) || errors.Is(err, errKilled) && try == 1
		if d.made == 0 && again && ctx.Err() == nil {
			continue
		}
		return d.verdict(ctx, err)
	}
}

func (m *Maker) refused(err error) {
	var busy *BusyError
	if errors.As(err, &busy) {
		m.count.refused.Add(1)
	}
}

// developing is one film in the decoder.
type developing struct {
	m     *Maker
	name  fragments.StreamName
	r     *Request
	shots []*shot
	film  *film
	f     func(int, *Picture) error
	made  int

	failed error // of f
	said   *tail
}

var (
	errAgain   = errors.New("the decoder is an older one")
	errKilled  = errors.New("the decoder was killed")
	errTimeout = errors.New("the decoder took too long")
)

// run runs one process.
func (d *developing) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d.m.o.Timeout, errTimeout)
	defer cancel()
	old := d.m.oldFFmpeg.Load()
	p, err := d.m.start(ctx, bytes.NewReader(d.film.data), d.args(old))
	if err != nil {
		return err
	}
	d.said = p.said
	read := d.read(p)
	if read != nil {
		cancel() // it has nothing more to say that could be used
	}
	end := p.wait()
	d.m.count.busy.Add(int64(time.Since(p.begun)))
	switch {
	case context.Cause(ctx) == errTimeout:
		return errTimeout
	case d.failed != nil:
		return d.failed
	case !old && p.said.unknownMode():
		d.m.oldFFmpeg.Store(true)
		return errAgain
	case read == nil && killed(end):
		return errKilled
	case read != nil:
		return read
	}
	return nil
}

// read reads the pictures of a process.
func (d *developing) read(p *process) error {
	for {
		data, err := readFile(p.out, d.r.Format)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil // it has died; how, its end says
		}
		if err != nil {
			return err
		}
		pts, err := p.numbers.next()
		if err != nil {
			return nil
		}
		i := slices.Index(d.film.wanted, pts)
		if i < 0 {
			return fmt.Errorf("the decoder gave a picture nobody wanted, of time %d", pts)
		}
		size, _, err := stdimage.DecodeConfig(bytes.NewReader(data))
		if err != nil {
			return fmt.Errorf("the decoder gave something else than a picture: %w", err)
		}
		fr := d.shots[i].target()
		d.made++
		d.m.count.pictures.Add(1)
		d.failed = d.f(i, &Picture{
			Data: data, Type: d.r.Format.Type(), Asked: d.r.Time, Time: fr.time, Server: fr.server,
			Fragment: fr.number, Key: fr.key, Width: size.Width, Height: size.Height,
		})
		if d.failed != nil {
			return d.failed
		}
	}
}

// verdict is the error of all tries together.
func (d *developing) verdict(ctx context.Context, err error) error {
	var none *NoDecoderError
	switch {
	case d.failed != nil:
		return d.failed
	case errors.As(err, &none):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case d.made > 0 && !errors.Is(err, errTimeout):
		return nil
	case d.said == nil: // there never was a process
		return err
	}
	e := &DecodeError{Stream: d.name, Codec: d.shots[0].track.Codec, Err: err}
	d.m.count.failed.Add(1)
	switch {
	case errors.Is(err, errTimeout):
		d.m.count.timedOut.Add(1)
		e.Timeout, e.Reason = true, fmt.Sprintf("the decoder took more than %s (images.timeout)", d.m.o.Timeout)
	case d.said.outOfMemory():
		e.Reason = fmt.Sprintf("the decoder needs more than %d MiB (images.max_memory)", d.m.o.MaxMemory>>20)
	case errors.Is(err, errKilled):
		e.Reason = "the decoder died, twice"
	case d.said.words() != "":
		e.Reason = "the decoder says: " + d.said.words()
	case err != nil:
		e.Reason = err.Error()
	default:
		e.Reason = "the decoder found no picture in it"
	}
	d.m.o.Log.Debug("no picture", "stream", d.name, "reason", e.Reason)
	return e
}

// args returns the arguments of ffmpeg.
func (d *developing) args(old bool) []string {
	return slices.Concat(inputArgs("-flags", "output_corrupt"), []string{
		"-vf", d.filters(), passthrough(old), "passthrough", "-an", "-sn", "-dn",
	}, d.encoder(), []string{"-f", "image2pipe", "pipe:1"})
}

// inputArgs are what holds for every decoder: it talks to nobody, reads an MP4
// file from its standard input and nothing else, uses one thread, and leaves
// the numbers of frames alone.
func inputArgs(more ...string) []string {
	args := []string{"-hide_banner", "-nostats", "-nostdin", "-v", "error", "-threads", "1", "-filter_threads", "1", "-copyts"}
	return slices.Concat(args, more, []string{"-protocol_whitelist", "pipe", "-f", "mp4", "-i", "pipe:0", "-map", "0:v:0", "-threads", "1"})
}

// passthrough names the option that has every frame written once, as it is.
func passthrough(old bool) string {
	if old {
		return "-vsync"
	}
	return "-fps_mode"
}

// tell is the filter that tells the numbers of frames. It prints only frames
// that have metadata.
const tell = `metadata=add:key=k:value=1,metadata=print:direct=1:file=pipe\\:3`

func (d *developing) filters() string {
	terms := make([]string, len(d.film.wanted))
	for i, pts := range d.film.wanted {
		terms[i] = fmt.Sprintf("eq(pts,%d)", pts)
	}
	chain := []string{"select='" + strings.Join(terms, "+") + "'"}
	scale := "scale="
	w, h := d.r.Width, d.r.Height
	switch {
	case w > 0 && h > 0:
		scale += fmt.Sprintf("%d:%d:", w, h)
	case w > 0 || h > 0:
		scale += fmt.Sprintf("%d:%d:force_original_aspect_ratio=decrease:", max(w, MaxSize*btoi(w == 0)), max(h, MaxSize*btoi(h == 0)))
	}
	format := "rgb24"
	if d.r.Format == JPEG {
		// JFIF is full range in the colours of BT.601.
		scale += "out_range=pc:out_color_matrix=bt601:"
		format = "yuvj420p"
	}
	return strings.Join(append(chain, scale+"flags=bicubic", "format="+format, tell), ",")
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// encoder returns the arguments that choose format and quality.
func (d *developing) encoder() []string {
	if d.r.Format == PNG {
		return []string{"-c:v", "png", "-compression_level", "3"}
	}
	// 2 is as good as it gets and 31 as bad; 1 would only be larger than 2.
	q := 31 - (d.r.Quality-1)*29/99
	return []string{"-c:v", "mjpeg", "-q:v", strconv.Itoa(q)}
}
