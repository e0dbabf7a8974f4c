package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/web/auth"
)

// publisher is a connection on which a camera publishes.
type publisher interface {
	// Write sends one access unit. It is called by one goroutine.
	Write(au *fragments.AccessUnit) error
	Close() error
}

// demo is the server and the cameras of one run of the demo.
type demo struct {
	config *Config
	out    io.Writer
	log    *slog.Logger
	keep   bool // the data folder is the user's
	serve  func(ctx context.Context, c *Config, log *slog.Logger, ready func(listening)) error
	dial   func(ctx context.Context, url string, tracks []*fragments.Track) (publisher, error)
}

// run runs the server, and its cameras once it listens, until ctx ends or the
// server does. The cameras stop first, so that each ends as one that is
// switched off.
func (d *demo) run(ctx context.Context) error {
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	filming, stopFilming := context.WithCancel(ctx)
	defer stopFilming()
	ready := make(chan listening, 1)
	served := make(chan error, 1)
	go func() {
		served <- d.serve(serving, d.config, d.log, func(l listening) { ready <- l })
		stopFilming()
	}()
	var filmed error
	select {
	case <-filming.Done():
	case l := <-ready:
		d.print(l, time.Now())
		filmed = d.film(filming, l)
	}
	stopServing()
	return errors.Join(<-served, filmed)
}

// film runs every camera until ctx ends. One that cannot go on stops all.
func (d *demo) film(ctx context.Context, l listening) error {
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var cameras sync.WaitGroup
	for _, camera := range demoCameras() {
		cameras.Go(func() {
			if err := d.camera(running, camera, l); err != nil {
				stop(fmt.Errorf("camera %s: %w", camera.name, err))
			}
		})
	}
	cameras.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(running)
}

// camera plays one clip round and round until ctx ends.
func (d *demo) camera(ctx context.Context, camera demoCamera, l listening) error {
	c, err := camera.load()
	if err != nil {
		return err
	}
	p, err := d.dial(ctx, cmp.Or(l.Publish, l.RTSP)+"/"+string(camera.name), c.tracks)
	if err != nil {
		if l.Credentials != "" {
			err = fmt.Errorf("%w; it publishes as user %s of %s, who needs the right to", err, auth.FirstUser, l.Credentials)
		}
		return err
	}
	defer p.Close()
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ; i++ {
		au, due := c.unit(i, start)
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := p.Write(au); err != nil {
			if ctx.Err() != nil {
				return nil // The server has gone first.
			}
			return err
		}
	}
}

// print tells where to look.
func (d *demo) print(l listening, start time.Time) {
	w := d.out
	fmt.Fprintf(w, "Three cameras publish over RTSP and are being recorded. Open\n\n    %s/\n", l.HTTP)
	for _, camera := range demoCameras() {
		fmt.Fprintf(w, "\n%s: %s\n", camera.name, camera.shows)
		fmt.Fprintf(w, "    live   %s/hls/%s/live.m3u8\n", l.HTTP, camera.name)
		fmt.Fprintf(w, "    RTSP   %s/%s\n", l.RTSP, camera.name)
		fmt.Fprintf(w, "    clip   %s/clip/%s.mp4?start=%d&end=%d (in 20 seconds)\n", l.HTTP, camera.name, start.UnixMilli(), start.Add(20*time.Second).UnixMilli())
	}
	fmt.Fprintf(w, "\nA record for every fragment goes into a data stream. Read it with any Kinesis client,\nfor instance\n\n")
	fmt.Fprintf(w, "    kineweir tail %s --server %s\n", d.config.Feed.Stream, l.HTTP)
	fmt.Fprintf(w, "    aws kinesis list-shards --stream-name %s --endpoint-url %s\n", d.config.Feed.Stream, l.HTTP)
	d.printMotion(l)
	where := l.RTSP
	if l.Credentials != "" {
		where = strings.Replace(where, "://", "://"+auth.FirstUser+":KEY@", 1)
		fmt.Fprintf(w, "\nSign in as %s; the key is in %s.\n", auth.FirstUser, l.Credentials)
	}
	fmt.Fprintf(w, "\nPublish one of your own:\n    ffmpeg -re -i FILE -c copy -f rtsp %s/mine\n\n", where)
	if d.keep {
		fmt.Fprintf(w, "Everything is kept in %s. Ctrl-C stops.\n", d.config.Data)
		return
	}
	fmt.Fprintf(w, "Everything is kept in %s until Ctrl-C stops the demo; --data keeps it.\n", d.config.Data)
}

// printMotion tells of the motion detectors, or why there are none.
func (d *demo) printMotion(l listening) {
	if len(d.config.Streams) == 0 {
		fmt.Fprintf(d.out, "\nNo motion is detected and there are no pictures: for those install ffmpeg.\n")
		return
	}
	fmt.Fprintf(d.out, "\nMotion on the cameras is detected. The console shows it, and so do\n\n")
	fmt.Fprintf(d.out, "    kineweir tail %s --server %s\n    curl \"%s/api/detections?order=newest\"\n", d.config.Events.Stream, l.HTTP, l.HTTP)
}

// demoQuiet ends an event before the same comes by again.
const demoQuiet = duration(time.Second)

// demoMotion switches motion on for the cameras of the demo, when there is what
// decodes their video.
func demoMotion(c *Config) {
	if _, err := exec.LookPath(c.Images.FFmpeg); err != nil || c.Events.Stream == "" {
		return
	}
	c.Streams = map[string]Stream{}
	for _, camera := range demoCameras() {
		c.Streams[string(camera.name)] = Stream{Motion: MotionConfig{Enabled: true, Quiet: demoQuiet, Zones: camera.zone}}
	}
}

// demoConfig is the configuration of the demo: the defaults and the flags, with
// other ports where the default ones are taken.
func demoConfig(ctx context.Context, settings []setting) (*Config, error) {
	c, err := loadConfig("", nil, settings)
	if err != nil {
		return nil, err
	}
	if c.RTSP.Addr == "" {
		return nil, &usageError{what: "the cameras of the demo publish over RTSP: --rtsp cannot be empty"}
	}
	for _, l := range []struct {
		key  string
		addr *address
	}{{"http.addr", &c.HTTP.Addr}, {"rtsp.addr", &c.RTSP.Addr}} {
		if _, given := c.origin[l.key]; given || tryListen(ctx, "tcp", string(*l.addr)) == nil {
			continue
		}
		if *l.addr, err = freeAddress(ctx); err != nil {
			return nil, fmt.Errorf("find a free port for %s: %w", l.key, err)
		}
	}
	if _, given := c.origin["feed.stream"]; !given {
		c.Feed.Stream = "camera-metadata"
	}
	demoMotion(c)
	c.dropTaken(ctx)
	return c, nil
}

// freeAddress returns an address of this machine that was free a moment ago.
func freeAddress(ctx context.Context) (address, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return address(l.Addr().String()), nil
}

// demoFolder makes a folder for a demo that keeps nothing.
func demoFolder() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "kineweir-demo-*")
	if err != nil {
		return "", nil, fmt.Errorf("make a folder for the demo: %w", err)
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}
