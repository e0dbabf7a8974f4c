package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// tool runs ffmpeg or ffprobe; a warning is a failure.
func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is needed: install the package ffmpeg", name)
	}
	cmd := exec.Command(name, append([]string{"-v", "warning"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Fatalf("%s %v: %v\n%s", name, args, err, errs.String())
	}
	return out.Bytes()
}

// clip is what ffmpeg made: a second of each in turn makes a fragment.
type clip struct {
	video, audio   *fragments.Track
	frames, sounds [][][]byte // payloads
}

const (
	clipRate    = 25
	clipSeconds = 4
)

// makeClip encodes H.264 with a key frame each second, and AAC.
func makeClip(t *testing.T) *clip {
	t.Helper()
	dir := t.TempDir()
	h264, adts := filepath.Join(dir, "v.h264"), filepath.Join(dir, "a.adts")
	tool(t, "ffmpeg", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=4", "-c:v", "libx264", "-bf", "0", "-g", "25",
		"-x264-params", "aud=1:scenecut=0", "-pix_fmt", "yuv420p", h264)
	tool(t, "ffmpeg", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=4", "-c:a", "aac", adts)
	c := &clip{video: testVideo(), audio: testAudio()}
	c.readVideo(t, h264)
	c.readAudio(t, adts)
	return c
}

// readVideo splits an Annex B file at its access unit delimiters.
func (c *clip) readVideo(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.ReplaceAll(data, []byte{0, 0, 0, 1}, []byte{0, 0, 1})
	sets := map[byte][]byte{}
	for _, nal := range bytes.Split(data, []byte{0, 0, 1})[1:] {
		switch kind := nal[0] & 0x1f; kind {
		case 9:
			c.frames = append(c.frames, nil)
			continue
		case 7, 8:
			sets[kind] = nal
		}
		last := len(c.frames) - 1
		c.frames[last] = append(c.frames[last], nal)
	}
	c.video.Params = [][]byte{sets[7], sets[8]}
	if len(c.frames) != clipRate*clipSeconds {
		t.Fatalf("%d video frames", len(c.frames))
	}
}

// readAudio takes the frames out of an ADTS file.
func (c *clip) readAudio(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c.audio.Channels, c.audio.Params = 1, [][]byte{{0x11, 0x88}} // AAC LC, 48 kHz, mono
	for len(data) > 7 {
		n := int(data[3]&3)<<11 | int(data[4])<<3 | int(data[5])>>5
		c.sounds = append(c.sounds, [][]byte{data[7:n]})
		data = data[n:]
	}
}

// fragment makes the fragment of the second i; it ends with the last sound that
// begins in it.
func (c *clip) fragment(n fragments.Number, i int, created time.Time, at time.Duration) *fragments.Fragment {
	start := created.Add(at + time.Duration(i)*time.Second)
	f := &fragments.Fragment{Number: n, Producer: fragments.ProducerTime(start), Server: fragments.ServerTime(start), Duration: time.Second}
	f.Runs = append(f.Runs, clipRun(c.video, c.frames[i*clipRate:(i+1)*clipRate], Ticks(at, 90000)+int64(i)*90000, 3600, uint32(5*i)))
	from, to := (i*48000+1023)/1024, ((i+1)*48000+1023)/1024
	to = min(to, len(c.sounds))
	f.Runs = append(f.Runs, clipRun(c.audio, c.sounds[from:to], Ticks(at, 48000)+int64(from)*1024, 1024, uint32(10*i)))
	return f
}

// clipRun makes parts of five samples.
func clipRun(t *fragments.Track, payloads [][][]byte, at int64, duration uint32, sequence uint32) fragments.Run {
	run := fragments.Run{Track: t, DecodeTime: at, Duration: int64(duration) * int64(len(payloads)), Samples: len(payloads)}
	for i := 0; i < len(payloads); i += 5 {
		var samples []fragments.Sample
		for j := i; j < min(i+5, len(payloads)); j++ {
			samples = append(samples, fragments.Sample{Duration: duration, Key: t.Kind() == fragments.KindAudio || j == 0, Payload: payloads[j]})
		}
		sequence++
		p := &fragments.Part{Track: t, Sequence: sequence, DecodeTime: at + int64(i)*int64(duration), Duration: int64(duration) * int64(len(samples)), Samples: samples}
		p.Data = cmaf.AppendPart(nil, t, sequence, p.DecodeTime, samples)
		run.Parts, run.Bytes = append(run.Parts, p), run.Bytes+len(p.Data)
	}
	return run
}

// TestPlayersOpenObjects: what lies in the bucket, and what is still growing in
// the spool, opens in ffprobe, begins at zero with its true length, and decodes
// whole, without a warning.
func TestPlayersOpenObjects(t *testing.T) {
	c := makeClip(t)
	p := newPlace(t)
	a := p.open()
	r := p.record(a, "cam")
	for i := range clipSeconds {
		if err := r.w.Commit(context.Background(), r.l, c.fragment(r.begin(), i, r.l.Created, 1000*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	checkPlays(t, c, p.spoolFile())
	r.close()
	settled(t, a)
	entries := listed(t, a, "cam")
	path := filepath.Join(p.opts.Bucket.(interface{ Root() string }).Root(), filepath.FromSlash(entries[0].Object))
	checkPlays(t, c, path)

	// A track of a fragment with its initialisation segment plays alone.
	init, err := cmaf.InitSegment(c.video)
	if err != nil {
		t.Fatal(err)
	}
	run, err := a.ReadRun(context.Background(), "cam", entries[2], 0)
	if err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(t.TempDir(), "alone.mp4")
	if err := os.WriteFile(alone, append(init, run...), 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "ffmpeg", "-i", alone, "-f", "null", "-")
}

func checkPlays(t *testing.T, c *clip, path string) {
	t.Helper()
	var probed struct {
		Format struct {
			StartTime string `json:"start_time"`
			Duration  string
		}
		Streams []struct {
			CodecName string `json:"codec_name"`
			StartTime string `json:"start_time"`
			Packets   string `json:"nb_read_packets"`
		}
	}
	out := tool(t, "ffprobe", "-count_packets", "-show_entries", "format=start_time,duration:stream=codec_name,start_time,nb_read_packets", "-of", "json", path)
	if err := json.Unmarshal(out, &probed); err != nil {
		t.Fatal(err)
	}
	if probed.Format.StartTime != "0.000000" || len(probed.Streams) != 2 {
		t.Fatalf("%s: %s", path, out)
	}
	var length float64
	if err := json.Unmarshal([]byte(probed.Format.Duration), &length); err != nil || length < clipSeconds || length > clipSeconds+0.1 {
		t.Fatalf("%s lasts %v s (%v)", path, length, err)
	}
	for i, want := range []struct {
		codec   string
		packets int
	}{{"h264", len(c.frames)}, {"aac", (clipSeconds*48000 + 1023) / 1024}} {
		var packets int
		if err := json.Unmarshal([]byte(probed.Streams[i].Packets), &packets); err != nil || packets != want.packets || probed.Streams[i].CodecName != want.codec || probed.Streams[i].StartTime != "0.000000" {
			t.Fatalf("stream %d is %+v, want %+v", i, probed.Streams[i], want)
		}
	}
	tool(t, "ffmpeg", "-i", path, "-f", "null", "-")
	tool(t, "ffmpeg", "-ss", "2.5", "-i", path, "-f", "null", "-")
}
