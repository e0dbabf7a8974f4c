package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// benchServer is a server in a process of its own, and the camera that publishes
// to it.
type benchServer struct {
	dir    string
	cmd    *exec.Cmd
	log    bytes.Buffer
	cancel context.CancelFunc
	camera sync.WaitGroup
}

// startBenchServer starts a server and its camera, and tells b where it is.
func startBenchServer(ctx context.Context, b *viewerBench) (*benchServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &benchServer{}
	if s.dir, err = os.MkdirTemp("", "kineweir-bench-*"); err != nil {
		return nil, err
	}
	var addrs [3]address
	for i := range addrs {
		if addrs[i], err = freeAddress(ctx); err != nil {
			return nil, errors.Join(err, os.RemoveAll(s.dir))
		}
	}
	s.cmd = exec.Command(self, "serve", "--data", s.dir, "--http", string(addrs[0]), "--rtsp", string(addrs[1]), "--rtsps", "", "--webrtc", string(addrs[2]))
	s.cmd.Stderr, s.cmd.WaitDelay = &s.log, time.Second
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	ctx, s.cancel = context.WithCancel(ctx)
	b.server = "http://" + string(addrs[0])
	if err := s.film(ctx, b, "rtsp://"+string(addrs[1])+"/"+b.stream); err != nil {
		s.stop()
		return nil, fmt.Errorf("%w\n%s", err, s.log.Bytes())
	}
	return s, nil
}

func (s *benchServer) stop() {
	s.cancel()
	s.camera.Wait()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.cmd.Wait()
	}()
	select {
	case <-done:
	case <-time.After(stopTimeout + 5*time.Second):
		_ = s.cmd.Process.Kill()
		<-done
	}
	_ = os.RemoveAll(s.dir)
}

// film publishes once the server is up, and returns when the stream plays.
func (s *benchServer) film(ctx context.Context, b *viewerBench, url string) error {
	if err := until(ctx, 20*time.Second, "the server is not healthy", func() bool {
		return b.status(ctx, "/healthz") == http.StatusOK
	}); err != nil {
		return err
	}
	clip, err := demoCamera{files: []string{"demo/loading-dock.mp4"}}.load()
	if err != nil {
		return err
	}
	p, err := dialRTSP(ctx, url, clip.tracks)
	if err != nil {
		return err
	}
	s.camera.Go(func() {
		defer p.Close()
		clip.film(ctx, p, b.bitrate)
	})
	return until(ctx, 20*time.Second, "the camera cannot be watched", func() bool {
		return b.status(ctx, "/hls/"+b.stream+"/live.m3u8") == http.StatusOK
	})
}

// stampMark stands before the time at which a frame was sent, 16 hexadecimal
// digits of nanoseconds since 1970, in a SEI message of the frame.
const stampMark = "kineweir-bench-time:"

// film sends the clip round and round, with so many kilobits of SEI messages that
// it has the bit rate, and the time in each.
func (c *loop) film(ctx context.Context, p publisher, kbits int) {
	frames := 0
	for i := range c.units {
		if c.tracks[c.units[i].track].Kind() == fragments.KindVideo {
			frames++
		}
	}
	perFrame := kbits * 1000 / 8 * int(c.length/time.Millisecond) / 1000 / frames
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ; i++ {
		au, due := c.unit(i, start)
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if au.Track.Kind() == fragments.KindVideo {
			au.Payload = stamped(au.Payload, time.Now(), max(200, perFrame-au.Size()))
		}
		if p.Write(au) != nil {
			return
		}
	}
}

// stamped puts a SEI message of user data with the time, size bytes large, before
// the first slice (ITU-T H.264, D.1.7).
func stamped(payload [][]byte, now time.Time, size int) [][]byte {
	body := make([]byte, 0, size+32)
	body = append(body, 6, 5)
	n := size
	for ; n >= 255; n -= 255 {
		body = append(body, 255)
	}
	body = append(body, byte(n))
	begin := len(body)
	body = append(body, "kineweir--bench-"...) // the UUID of whose data it is
	body = append(body, stampMark...)
	var ns [8]byte
	for i := range ns {
		ns[i] = byte(now.UnixNano() >> (56 - 8*i))
	}
	body = hex.AppendEncode(body, ns[:])
	for len(body)-begin < size {
		body = append(body, 'x')
	}
	body = append(body, 0x80)
	at := 0
	for at < len(payload) && payload[at][0]&31 >= 6 {
		at++ // parameter sets and the like
	}
	out := append([][]byte(nil), payload[:at]...)
	return append(append(out, body), payload[at:]...)
}

// stampOf returns the time in some bytes of a frame.
func stampOf(b []byte) (time.Time, bool) {
	i := bytes.LastIndex(b, []byte(stampMark))
	if i < 0 || len(b) < i+len(stampMark)+16 {
		return time.Time{}, false
	}
	var raw [8]byte
	if _, err := hex.Decode(raw[:], b[i+len(stampMark):i+len(stampMark)+16]); err != nil {
		return time.Time{}, false
	}
	ns := int64(0)
	for _, v := range raw {
		ns = ns<<8 | int64(v)
	}
	return time.Unix(0, ns), true
}

// until waits for a condition.
func until(ctx context.Context, limit time.Duration, otherwise string, ok func() bool) error {
	for end := time.Now().Add(limit); time.Now().Before(end); {
		if ok() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return errors.New(otherwise)
}
