package cmaf_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

// clip is a second or so of media that ffmpeg encoded, as a publisher would
// deliver it.
type clip struct {
	track   *fragments.Track
	samples []fragments.Sample
}

const (
	lavfiVideo = "testsrc2=size=320x180:rate=25:duration=1"
	lavfiAudio = "sine=frequency=440:beep_factor=4:duration=1:sample_rate="
	fragmented = "-movflags delay_moov+default_base_moof+frag_keyframe -f mp4"
)

// recipes are the arguments of ffmpeg for each codec but raw audio, whose
// samples are cut by hand.
var recipes = map[fragments.Codec]string{
	fragments.H264: "-i " + lavfiVideo + " -c:v libx264 -preset veryfast -bf 2 -g 12 " + fragmented,
	fragments.H265: "-i " + lavfiVideo + " -c:v libx265 -preset ultrafast -x265-params log-level=none -tag:v hvc1 " + fragmented,
	fragments.AV1:  "-i " + lavfiVideo + " -c:v libaom-av1 -cpu-used 8 -usage realtime -g 12 " + fragmented,
	fragments.VP8:  "-i " + lavfiVideo + " -c:v libvpx -cpu-used 8 -deadline realtime -g 12 -f ivf",
	fragments.VP9:  "-i " + lavfiVideo + " -c:v libvpx-vp9 -cpu-used 8 -deadline realtime -g 12 " + fragmented,
	fragments.AAC:  "-i " + lavfiAudio + "44100 -ac 2 -c:a aac " + fragmented,
	fragments.Opus: "-i " + lavfiAudio + "48000 -ac 2 -c:a libopus " + fragmented,
	fragments.MP3:  "-i " + lavfiAudio + "44100 -ac 2 -c:a libmp3lame -write_xing 0 " + fragmented,
	fragments.PCMU: "-i " + lavfiAudio + "8000 -ac 1 -c:a pcm_mulaw -f mulaw",
	fragments.PCMA: "-i " + lavfiAudio + "8000 -ac 1 -c:a pcm_alaw -f alaw",
	fragments.LPCM: "-i " + lavfiAudio + "48000 -ac 2 -c:a pcm_s16be -f s16be",
}

var encoded = struct {
	sync.Mutex
	clips map[fragments.Codec]clip
}{clips: map[fragments.Codec]clip{}}

// encode returns a clip of the codec, encoded once for all tests.
func encode(tb testing.TB, codec fragments.Codec) clip {
	tb.Helper()
	encoded.Lock()
	defer encoded.Unlock()
	if c, ok := encoded.clips[codec]; ok {
		return c
	}
	data := run(tb, nil, "ffmpeg", strings.Fields("-v error -f lavfi "+recipes[codec]+" -")...)
	var c clip
	switch codec {
	case fragments.VP8:
		c = cutIVF(tb, data)
	case fragments.PCMU, fragments.PCMA:
		c = cutRaw(data, &fragments.Track{Codec: codec, TimeScale: 8000, SampleRate: 8000, Channels: 1}, 160)
	case fragments.LPCM:
		c = cutRaw(data, &fragments.Track{Codec: codec, TimeScale: 48000, SampleRate: 48000, Channels: 2, BitDepth: 16}, 480)
	default:
		c = cutMP4(tb, data)
	}
	if c.track.Codec != codec || len(c.samples) < 20 {
		tb.Fatalf("ffmpeg made %d samples of %s, want %s", len(c.samples), c.track.Codec, codec)
	}
	encoded.clips[codec] = c
	return c
}

// run runs a tool of ffmpeg and returns what it printed; it must not complain.
func run(tb testing.TB, stdin []byte, name string, args ...string) []byte {
	tb.Helper()
	if _, err := exec.LookPath(name); err != nil {
		tb.Fatalf("%s is needed: install the package ffmpeg", name)
	}
	cmd := exec.Command(name, args...)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &complaints
	if err := cmd.Run(); err != nil || complaints.Len() > 0 {
		tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, complaints.String())
	}
	return out.Bytes()
}

// cutMP4 takes a fragmented MP4 of ffmpeg apart.
func cutMP4(tb testing.TB, data []byte) clip {
	tb.Helper()
	tracks, err := cmaf.ParseInit(data)
	if err != nil {
		tb.Fatal(err)
	}
	c := clip{track: tracks[0]}
	for p, err := range cmaf.Parts(data) {
		if err != nil {
			tb.Fatal(err)
		}
		for _, s := range p.Samples {
			payload := [][]byte{s.Data}
			switch c.track.Codec {
			case fragments.H264, fragments.H265:
				var units h264.AVCC
				err = units.Unmarshal(s.Data)
				payload = units
			case fragments.AV1:
				var units av1.Bitstream
				err = units.Unmarshal(s.Data)
				payload = units
			}
			if err != nil {
				tb.Fatal(err)
			}
			c.samples = append(c.samples, fragments.Sample{Duration: s.Duration, Offset: uint32(s.Offset), Key: s.Key, Payload: payload})
		}
	}
	return c
}

// cutIVF takes the frames out of an IVF file: a header of 32 bytes, then before
// each frame its length and a time stamp, 12 bytes.
func cutIVF(tb testing.TB, data []byte) clip {
	tb.Helper()
	c := clip{track: &fragments.Track{Codec: fragments.VP8, TimeScale: 90000, Width: 320, Height: 180}}
	for data = data[32:]; len(data) > 0; {
		n := 12 + int(binary.LittleEndian.Uint32(data))
		frame := data[12:n]
		c.samples = append(c.samples, fragments.Sample{Duration: 3600, Key: frame[0]&1 == 0, Payload: [][]byte{frame}})
		data = data[n:]
	}
	return c
}

// cutRaw cuts raw audio into access units of n samples.
func cutRaw(data []byte, track *fragments.Track, n int) clip {
	c := clip{track: track}
	size := n * track.Channels * max(1, track.BitDepth/8)
	for ; len(data) >= size; data = data[size:] {
		c.samples = append(c.samples, fragments.Sample{Duration: uint32(n), Key: true, Payload: [][]byte{data[:size]}})
	}
	return c
}

// file writes the clips as one object, each as a track in parts of n samples,
// and returns its name.
func file(tb testing.TB, n int, clips ...clip) string {
	tb.Helper()
	var tracks []*fragments.Track
	for i, c := range clips {
		track := *c.track
		track.ID = i + 1
		tracks = append(tracks, &track)
	}
	data, err := cmaf.InitSegment(tracks...)
	if err != nil {
		tb.Fatal(err)
	}
	data = cmaf.AppendUUIDBox(data, [16]byte{1}, []byte("an entry"))
	data = cmaf.AppendPrft(data, 1, unixTime, 0)
	for i, c := range clips {
		decodeTime, sequence := int64(0), uint32(1)
		for samples := c.samples; len(samples) > 0; sequence++ {
			part := samples[:min(n, len(samples))]
			samples = samples[len(part):]
			data = cmaf.AppendPart(data, tracks[i], sequence, decodeTime, part)
			for _, s := range part {
				decodeTime += int64(s.Duration)
			}
		}
	}
	return write(tb, cmaf.AppendUUIDBox(data, [16]byte{2}, []byte("an index")))
}

func write(tb testing.TB, data []byte) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "object.mp4")
	if err := writeFile(name, data); err != nil {
		tb.Fatal(err)
	}
	return name
}

// probe returns what ffprobe says of each stream of a file, key by key.
func probe(tb testing.TB, name string, args ...string) []map[string]string {
	tb.Helper()
	out := run(tb, nil, "ffprobe", append(strings.Fields("-v warning -show_streams -of compact=p=0:nk=0"), append(args, name)...)...)
	var streams []map[string]string
	for line := range strings.Lines(string(out)) {
		stream := map[string]string{}
		for field := range strings.SplitSeq(strings.TrimSpace(line), "|") {
			k, v, _ := strings.Cut(field, "=")
			stream[k] = v
		}
		streams = append(streams, stream)
	}
	return streams
}

// frameHashes returns the hash of each frame of a file that ffmpeg decoded.
func frameHashes(tb testing.TB, name, stream string) string {
	tb.Helper()
	out := run(tb, nil, "ffmpeg", "-v", "warning", "-i", name, "-map", stream, "-f", "framemd5", "-")
	var hashes strings.Builder
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			fields := strings.Split(strings.TrimSpace(line), ",")
			fmt.Fprintln(&hashes, strings.TrimSpace(fields[len(fields)-1]))
		}
	}
	return hashes.String()
}
