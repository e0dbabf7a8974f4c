package e2e

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The clock picture: the time a frame was made, in ms since 1970, as a row of
// black and white blocks, and below it the same row inverted as a check.
const (
	clockBits   = 40
	clockBlock  = 16 // pixels
	clockWidth  = clockBits * clockBlock
	clockHeight = 360
	clockFPS    = 25
)

// drawClock draws at into a grey picture of clockWidth x clockHeight.
func drawClock(pic []byte, at time.Time) {
	ms := at.UnixMilli() & (1<<clockBits - 1)
	for y := range clockHeight {
		row := pic[y*clockWidth : (y+1)*clockWidth]
		for b := range clockBits {
			v := byte(60 + (y+b*7)%90)
			if y < 2*clockBlock {
				v = 16
				if on := ms>>(clockBits-1-b)&1 == 1; on == (y < clockBlock) {
					v = 235
				}
			}
			for x := b * clockBlock; x < (b+1)*clockBlock; x++ {
				row[x] = v
			}
		}
	}
}

// drawClocks writes a picture of the clock clockFPS times a second, until ctx
// ends or nobody reads. stamp is told when each is due and answers what it is to
// show, in whole milliseconds. On a busy machine pictures come late, but none is
// left out: who counts them knows when each was due. The first shows no clock:
// its reader may just be starting, and counts from when it has it.
func drawClocks(ctx context.Context, w io.WriteCloser, stamp func(due time.Time) time.Time) {
	defer w.Close()
	pic := make([]byte, clockWidth*clockHeight)
	due := time.Now().Truncate(time.Millisecond)
	for first := true; ; first = false {
		timer := time.NewTimer(time.Until(due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if at := stamp(due); !first {
			drawClock(pic, at)
		}
		if _, err := w.Write(pic); err != nil {
			return
		}
		if first {
			due = time.Now().Truncate(time.Millisecond)
		}
		due = due.Add(time.Second / clockFPS)
	}
}

// startFFmpeg runs ffmpeg until the test ends or cancel is called; input may
// be nil.
func startFFmpeg(t *testing.T, input io.Reader, args string) (cancel func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var log syncBuffer
	cmd := exec.CommandContext(ctx, "ffmpeg", strings.Fields("-hide_banner -nostdin -loglevel warning "+args)...)
	if input != nil {
		cmd = exec.CommandContext(ctx, "ffmpeg", strings.Fields("-hide_banner -loglevel warning "+args)...)
		cmd.Stdin = input
	}
	cmd.Stderr = &log
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); cmd.Wait() }()
	cancel = func() { stop(); <-done }
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Logf("ffmpeg %s:\n%s", args, log.String())
		}
	})
	return cancel
}

// clockCamera pushes the clock picture by ffmpeg until the test ends.
func clockCamera(t *testing.T, url, options string) (cancel func()) {
	t.Helper()
	r, w := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	go drawClocks(ctx, w, func(due time.Time) time.Time { return due })
	end := startFFmpeg(t, r, fmt.Sprintf("-probesize 32 -analyzeduration 0 -f rawvideo -pix_fmt gray -video_size %dx%d -framerate %d -i - "+
		"-c:v libx264 -preset ultrafast -tune zerolatency -bf 0 -g %d -pix_fmt yuv420p %s -f rtsp -rtsp_transport tcp %s",
		clockWidth, clockHeight, clockFPS, clockFPS, options, url))
	return func() { stop(); r.Close(); end() }
}

// testCamera pushes a test picture with a tone until the test ends.
func testCamera(t *testing.T, url, options string) (cancel func()) {
	t.Helper()
	return startFFmpeg(t, nil, "-re -f lavfi -i testsrc2=size=320x240:rate=25 -re -f lavfi -i sine=frequency=440:sample_rate=48000 "+
		"-c:v libx264 -preset ultrafast -tune zerolatency -g 25 -pix_fmt yuv420p -c:a aac "+options+" -f rtsp -rtsp_transport tcp "+url)
}
