package clip_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/clip"
	"github.com/kineweir/kineweir/playback/playbacktest"
)

var created = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)

const (
	picture = "-f lavfi -i testsrc2=size=160x90:rate=25:duration=8 -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 50 -bf "
	sound   = "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=8 "
)

var media = struct {
	sync.Mutex
	encoded map[string]playbacktest.Media
}{encoded: map[string]playbacktest.Media{}}

// encode encodes once for all tests.
func encode(tb testing.TB, id int, args string) playbacktest.Media {
	tb.Helper()
	media.Lock()
	defer media.Unlock()
	key := fmt.Sprint(id, args)
	m, ok := media.encoded[key]
	if !ok {
		m = playbacktest.Encode(tb, id, args)
		media.encoded[key] = m
	}
	return m
}

func record(a *playbacktest.Archive, f []playbacktest.Fragment) {
	for i := range f {
		f[i].AddTo(a, "front")
	}
}

// camera is an archive with 8 s of H.264 and AAC that begin 100 s after the
// stream was created.
func camera(tb testing.TB, bframes int) *playbacktest.Archive {
	tb.Helper()
	a := playbacktest.New()
	a.Create("front", created)
	c := playbacktest.Cutter{Created: created, Start: 100 * time.Second, Lag: time.Second}
	record(a, c.Cut(tb, encode(tb, 1, picture+strconv.Itoa(bframes)), encode(tb, 2, sound+"-c:a aac")))
	return a
}

func cut(tb testing.TB, a *playbacktest.Archive, from, to float64) *clip.Clip {
	tb.Helper()
	m, err := clip.New(a, clip.Options{Location: time.UTC})
	if err != nil {
		tb.Fatal(err)
	}
	c, err := m.Clip(context.Background(), "front", span(from, to))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// span is seconds since the creation.
func span(from, to float64) playback.Range {
	at := func(s float64) time.Time { return created.Add(time.Duration(math.Round(s*1e3)) * time.Millisecond) }
	return playback.Range{Start: at(from), End: at(to)}
}

// save reads the whole clip into a file.
func save(tb testing.TB, c *clip.Clip) (file string, data []byte) {
	tb.Helper()
	data, err := io.ReadAll(c.Open(context.Background()))
	if err != nil {
		tb.Fatal(err)
	}
	if int64(len(data)) != c.Size() {
		tb.Fatalf("clip has %d bytes, its size is %d", len(data), c.Size())
	}
	file = filepath.Join(tb.TempDir(), "clip.mp4")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return file, data
}

type probed struct {
	Streams []struct {
		Codec    string `json:"codec_name"`
		Duration string `json:"duration"`
		Start    string `json:"start_time"`
		Frames   string `json:"nb_frames"`
		Width    int    `json:"width"`
	} `json:"streams"`
	Format struct {
		Duration string `json:"duration"`
		Start    string `json:"start_time"`
	} `json:"format"`
}

// probe asks ffprobe, which must not warn.
func probe(tb testing.TB, file string) probed {
	tb.Helper()
	out, complaints := playbacktest.Tool(tb, "ffprobe", "-v", "warning", "-show_streams", "-show_format", "-of", "json", file)
	if complaints != "" {
		tb.Errorf("ffprobe: %s", complaints)
	}
	var p probed
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		tb.Fatal(err)
	}
	return p
}

// decoded decodes everything and returns when each frame of the first video and
// the first audio track is presented, as ffmpeg shows them.
func decoded(tb testing.TB, file string) (video, audio []float64) {
	tb.Helper()
	out, complaints := playbacktest.Tool(tb, "ffmpeg", strings.Fields("-v warning -i "+file+" -fps_mode passthrough -enc_time_base -1 -f framecrc -")...)
	// No MP4 tells ffmpeg the layout of the channels of PCM.
	if complaints != "" && !strings.HasPrefix(complaints, "Guessed Channel Layout") {
		tb.Errorf("ffmpeg: %s", complaints)
	}
	scale, isVideo := map[string]float64{}, map[string]bool{}
	for line := range strings.Lines(out) {
		var index, kind string
		var num, den float64
		if n, _ := fmt.Sscanf(line, "#media_type %1s: %s", &index, &kind); n == 2 {
			isVideo[index] = kind == "video"
		}
		if n, _ := fmt.Sscanf(line, "#tb %1s: %g/%g", &index, &num, &den); n == 3 {
			scale[index] = num / den
		}
		f := strings.Split(line, ",")
		if strings.HasPrefix(line, "#") || len(f) < 4 {
			continue
		}
		at := seconds(tb, strings.TrimSpace(f[2])) * scale[f[0]]
		if isVideo[f[0]] {
			video = append(video, at)
		} else {
			audio = append(audio, at)
		}
	}
	return video, audio
}

func near(a, b, within float64) bool { return math.Abs(a-b) <= within }

func seconds(tb testing.TB, s string) float64 {
	tb.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		tb.Fatalf("%q is no duration", s)
	}
	return v
}

func TestClipPlaysExactlyItsRange(t *testing.T) {
	for _, bframes := range []int{0, 2} {
		a := camera(t, bframes)
		for _, c := range []struct {
			name     string
			from, to float64 // seconds since the first picture
			begins   float64 // when the first picture is shown
			frames   int
		}{
			{"a whole number of fragments", 0, 8, 0, 200},
			{"from a key frame", 2, 6, 0, 100},
			{"from within a group of pictures", 3, 5, 0, 50},
			{"between two frames", 3.02, 5, 0, 50},
			{"one fragment", 2.4, 3.6, 0, 30},
			{"more than there is", -5, 20, 0, 200},
		} {
			t.Run(fmt.Sprintf("%d b-frames, %s", bframes, c.name), func(t *testing.T) {
				made := cut(t, a, 100+c.from, 100+c.to)
				file, _ := save(t, made)
				p := probe(t, file)
				want := min(c.to, 8) - max(c.from, 0)
				if d := seconds(t, p.Format.Duration); !near(d, want, 0.05) {
					t.Errorf("duration %v, want %v", d, want)
				}
				if len(p.Streams) != 2 || p.Streams[0].Codec != "h264" || p.Streams[1].Codec != "aac" {
					t.Fatalf("streams: %+v", p.Streams)
				}
				times, audio := decoded(t, file)
				if n := len(times); n < c.frames-1 || n > c.frames+1 {
					t.Errorf("%d pictures, want %d", n, c.frames)
				}
				if len(times) > 0 && !near(times[0], c.begins, 0.04) {
					t.Errorf("first picture at %v, want %v", times[0], c.begins)
				}
				if last := audio[len(audio)-1]; !near(last, want, 0.1) || !near(audio[0], 0, 0.03) {
					t.Errorf("audio from %v to %v, want 0 to %v", audio[0], last, want)
				}
			})
		}
	}
}

func TestClipReadInPiecesIsTheWhole(t *testing.T) {
	for _, c := range []*clip.Clip{cut(t, camera(t, 2), 101, 107), cut(t, silentFor(t, 10*time.Second), 101, 125)} {
		readInPieces(t, c)
	}
}

func readInPieces(t *testing.T, c *clip.Clip) {
	_, whole := save(t, c)
	r := c.Open(context.Background())
	size := int64(len(whole))
	for _, at := range []int64{0, 1, 7, size / 3, size / 2, size - 1, 100, size/2 + 1, 4000} {
		for _, n := range []int64{1, 3, 1000, 100_000} {
			if _, err := r.Seek(at, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			n = min(n, size-at)
			got := make([]byte, n)
			if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, whole[at:at+n]) {
				t.Fatalf("%d bytes at %d differ from the whole: %v", n, at, err)
			}
		}
	}
	if end, err := r.Seek(0, io.SeekEnd); end != size || err != nil {
		t.Errorf("end at %d, %v; want %d", end, err, size)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read at the end: %d, %v", n, err)
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		t.Error("seek before the beginning: no error")
	}
}

func TestLayoutReadsOnlyTheHeads(t *testing.T) {
	a := camera(t, 2)
	opened, read := a.Read()
	c := cut(t, a, 100, 108)
	nowOpened, nowRead := a.Read()
	if n := nowRead - read; n == 0 || n > c.Size()/2 {
		t.Errorf("the layout read %d bytes for a clip of %d", n, c.Size())
	}
	if n := nowOpened - opened; n > 20 {
		t.Errorf("the layout opened %d ranges for 4 fragments", n)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		from float64
		want string
	}{
		{102, "front 2026-11-23 14.01.42.mp4"},
		{50, "front 2026-11-23 14.01.40.mp4"}, // where there is something
	} {
		if got := cut(t, camera(t, 0), c.from, 106).FileName(); got != c.want {
			t.Errorf("from %v: %q, want %q", c.from, got, c.want)
		}
	}
}

// silentFor is 8 s of a camera, a while without sound, and another 8 s.
func silentFor(tb testing.TB, d time.Duration) *playbacktest.Archive {
	tb.Helper()
	a := playbacktest.New()
	a.Create("front", created)
	c := playbacktest.Cutter{Created: created, Start: 100 * time.Second}
	v, s := encode(tb, 1, picture+"0"), encode(tb, 2, sound+"-c:a aac")
	record(a, c.Cut(tb, v, s))
	for c.Start < 108*time.Second+d {
		record(a, c.Cut(tb, v))
	}
	record(a, c.Cut(tb, v, s))
	return a
}

// steps fails where sound or picture is not as regular as it should be; hole is
// the one longer step that is allowed.
func steps(t *testing.T, times []float64, step, hole float64) {
	t.Helper()
	for i := range times[1:] {
		if d := times[i+1] - times[i]; !near(d, step, step/2) && !near(d, hole, 0.05) {
			t.Errorf("frame at %v follows one at %v", times[i+1], times[i])
		}
	}
}

func TestGapHoldsTheLastFrame(t *testing.T) {
	a := playbacktest.New()
	a.Create("front", created)
	c := playbacktest.Cutter{Created: created, Start: 100 * time.Second}
	v, s := encode(t, 1, picture+"0"), encode(t, 2, sound+"-c:a aac")
	record(a, c.Cut(t, v, s)) // 100 to 108
	c.Start = 118 * time.Second
	record(a, c.Cut(t, v, s)) // 118 to 126
	file, _ := save(t, cut(t, a, 104, 122))
	if d := seconds(t, probe(t, file).Format.Duration); !near(d, 18, 0.05) {
		t.Errorf("duration %v, want 18", d)
	}
	times, audio := decoded(t, file)
	steps(t, times, 0.04, 10.04)
	if n := len(times); n != 200 {
		t.Errorf("%d frames, want 200", n)
	}
	// The sound goes on, silent.
	steps(t, audio, 0.0213, 0)
}

func TestMissingAudioIsSilence(t *testing.T) {
	file, _ := save(t, cut(t, silentFor(t, 16*time.Second), 104, 130))
	probe(t, file)
	video, audio := decoded(t, file)
	steps(t, video, 0.04, 0)
	steps(t, audio, 0.0213, 0)
	if last := audio[len(audio)-1]; !near(last, 26, 0.1) {
		t.Errorf("sound up to %v, want 26", last)
	}
}

func TestTimeThatRunsBack(t *testing.T) {
	a := playbacktest.New()
	a.Create("front", created)
	c := playbacktest.Cutter{Created: created, Start: 100 * time.Second}
	v, s := encode(t, 1, picture+"0"), encode(t, 2, sound+"-c:a aac")
	record(a, c.Cut(t, v, s)) // 100 to 108
	c.Start = 102 * time.Second
	record(a, c.Cut(t, v, s)) // the clock was set back by 6 s: 102 to 110
	file, _ := save(t, cut(t, a, 100, 110))
	probe(t, file)
	times, _ := decoded(t, file)
	for i := range times[1:] {
		if times[i+1] <= times[i] {
			t.Fatalf("frame at %v follows one at %v", times[i+1], times[i])
		}
	}
	if n := len(times); n < 245 || n > 255 {
		t.Errorf("%d frames, want the 250 of 10 s", n)
	}
}

func TestConfigurationsChange(t *testing.T) {
	a := playbacktest.New()
	a.Create("front", created)
	c := playbacktest.Cutter{Created: created, Start: 100 * time.Second}
	small := encode(t, 1, picture+"0")
	large := encode(t, 1, strings.Replace(picture, "160x90", "320x180", 1)+"0")
	record(a, c.Cut(t, small))
	record(a, c.Cut(t, large))
	record(a, c.Cut(t, small))
	file, data := save(t, cut(t, a, 104, 120))
	if n := bytes.Count(data[:bytes.Index(data, []byte("mdat"))], []byte("avcC")); n != 2 {
		t.Errorf("%d sample descriptions, want 2", n)
	}
	// ffmpeg decodes it, and warns that this may not play right.
	out, _ := playbacktest.Tool(t, "ffmpeg", strings.Fields("-v error -i "+file+" -fps_mode passthrough -vf scale=160:90 -f framecrc -")...)
	if n := strings.Count(out, "\n0,"); n != 400 {
		t.Errorf("%d frames, want 400", n)
	}
}

func TestCodecs(t *testing.T) {
	g711 := func(c fragments.Codec) playbacktest.Media {
		return playbacktest.EncodeRaw(t, &fragments.Track{ID: 2, Codec: c, TimeScale: 8000, SampleRate: 8000, Channels: 1}, sound+"-ar 8000 -ac 1")
	}
	for _, c := range []struct {
		media playbacktest.Media
		want  string
	}{
		{encode(t, 2, sound+"-c:a libopus"), "opus"},
		{encode(t, 2, sound+"-c:a libmp3lame -write_xing 0"), "mp3"},
		{g711(fragments.PCMU), "pcm_mulaw"},
		{g711(fragments.PCMA), "pcm_alaw"},
		{playbacktest.EncodeRaw(t, &fragments.Track{ID: 2, Codec: fragments.LPCM, TimeScale: 48000, SampleRate: 48000, Channels: 2, BitDepth: 16}, sound+"-ac 2"), "pcm_s16be"},
		{encode(t, 1, strings.Replace(picture, "libx264 -preset veryfast", "libx265 -preset ultrafast -x265-params log-level=none -tag:v hvc1", 1)+"0"), "hevc"},
		{encode(t, 1, "-f lavfi -i testsrc2=size=160x90:rate=25:duration=8 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 50"), "vp9"},
	} {
		t.Run(c.want, func(t *testing.T) {
			a := playbacktest.New()
			a.Create("front", created)
			cutter := playbacktest.Cutter{Created: created, Start: 100 * time.Second}
			record(a, cutter.Cut(t, c.media))
			file, _ := save(t, cut(t, a, 101, 105))
			p := probe(t, file)
			if len(p.Streams) != 1 || p.Streams[0].Codec != c.want || !near(seconds(t, p.Format.Duration), 4, 0.05) {
				t.Errorf("got %+v", p)
			}
			video, audio := decoded(t, file)
			if times := append(video, audio...); !near(times[0], 0, 0.05) || !near(times[len(times)-1], 4, 0.2) {
				t.Errorf("frames from %v to %v", times[0], times[len(times)-1])
			}
		})
	}
}
