package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest/rtsp"
)

// The clock in the picture and PROGRAM-DATE-TIME agree within one frame for a
// publisher whose sender reports are exact.
func TestClockOfExactPublisher(t *testing.T) {
	s := serve(t, "")
	begin := time.Now()
	exactCamera(t, "rtsp://"+s.rtsp+"/clock")
	waitLive(t, s, "clock", 3)
	frame := time.Second / clockFPS
	b := play(t, playOptions{URL: s.http + "/hls/clock/live.m3u8", Seconds: 6})
	checkClock(t, "live", b, frame)
	b = play(t, playOptions{URL: s.http + "/hls/clock/index.m3u8" + span(begin, begin.Add(5*time.Second)), Seconds: 4})
	checkClock(t, "past", b, frame)
}

// exactCamera draws the clock, has ffmpeg encode it and publishes the access
// units with the times at which they were drawn.
func exactCamera(t *testing.T, url string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	encoder := exec.CommandContext(ctx, "ffmpeg", strings.Fields(fmt.Sprintf("-hide_banner -loglevel error -probesize 32 -analyzeduration 0 "+
		"-f rawvideo -pix_fmt gray -video_size %dx%d -framerate %d -i - -c:v libx264 -preset ultrafast -tune zerolatency -bf 0 -g %d "+
		"-pix_fmt yuv420p -x264-params aud=1 -f h264 -flush_packets 1 -", clockWidth, clockHeight, clockFPS, clockFPS))...)
	in, err := encoder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := encoder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := encoder.Start(); err != nil {
		t.Fatal(err)
	}
	drawn := make(chan time.Time, 1000)
	drawing, publishing := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(drawing)
		drawClocks(ctx, in, func(time.Time) time.Time {
			at := time.Now().Truncate(time.Millisecond)
			drawn <- at
			return at
		})
	}()
	go func() { publishing <- publishExact(ctx, url, out, drawn) }()
	t.Cleanup(func() {
		stop()
		<-drawing
		if err := <-publishing; err != nil && !errors.Is(err, io.EOF) && !t.Failed() {
			t.Errorf("publisher: %v", err)
		}
		encoder.Wait()
	})
}

func publishExact(ctx context.Context, url string, annexB io.Reader, drawn <-chan time.Time) error {
	units := bufio.NewReaderSize(annexB, 1<<20)
	var pub *rtsp.Publisher
	var track *fragments.Track
	var first time.Time
	for ctx.Err() == nil {
		nalus, err := readUnit(units)
		if err != nil {
			break
		}
		at := <-drawn
		if pub == nil {
			first = at
			track = &fragments.Track{ID: 1, Codec: fragments.H264, TimeScale: 90000, Width: clockWidth, Height: clockHeight, Params: nalus[:2]}
			if pub, err = rtsp.NewPublisher(ctx, rtsp.PublisherOptions{URL: url, Tracks: []*fragments.Track{track}}); err != nil {
				return err
			}
			defer pub.Close()
		}
		err = pub.Write(&fragments.AccessUnit{
			Track: track, PTS: int64(at.Sub(first)) * 9 / 100_000, DTS: fragments.NoDTS, Payload: nalus,
			Key: nalus[0][0]&31 == 7, Capture: fragments.ProducerTime(at), Source: fragments.FromReport,
		})
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

var startCode = []byte{0, 0, 0, 1}

// readUnit reads up to the next access unit delimiter and returns the NAL
// units without it.
func readUnit(r *bufio.Reader) ([][]byte, error) {
	var unit []byte
	delimiter := []byte{0, 0, 0, 1, 9}
	for {
		b, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		unit = append(unit, b)
		if bytes.HasSuffix(unit, delimiter) && len(unit) > len(delimiter)+2 {
			break
		}
	}
	// The delimiter that ends it begins the next one, whose own is cut off here:
	// what is left of this unit's is its one byte of payload.
	unit = unit[:len(unit)-len(delimiter)]
	var nalus [][]byte
	for _, part := range bytes.Split(bytes.ReplaceAll(unit, startCode, startCode[1:]), startCode[1:]) {
		if len(part) > 1 && part[0]&31 != 9 && part[0]&31 != 6 {
			nalus = append(nalus, part)
		}
	}
	return nalus, nil
}
