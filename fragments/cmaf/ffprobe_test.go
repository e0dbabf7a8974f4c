package cmaf_test

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/cmaf"
)

func writeFile(name string, data []byte) error { return os.WriteFile(name, data, 0o600) }

// opens is what ffprobe must say of a file of each codec.
var opens = []struct {
	codec  fragments.Codec
	probed string // codec_name
	tag    string // codec_tag_string
	string string // codecs parameter
}{
	{fragments.H264, "h264", "avc1", "avc1.64000c"},
	{fragments.H265, "hevc", "hvc1", "hvc1.1.6.L60.90"},
	{fragments.AV1, "av1", "av01", "av01.0.00M.08"},
	{fragments.VP8, "vp8", "vp08", "vp08.00.10.08"},
	{fragments.VP9, "vp9", "vp09", "vp09.00.11.08"},
	{fragments.AAC, "aac", "mp4a", "mp4a.40.2"},
	{fragments.Opus, "opus", "Opus", "opus"},
	{fragments.MP3, "mp3", "mp4a", "mp4a.6B"},
	{fragments.PCMU, "pcm_mulaw", "ulaw", "ulaw"},
	{fragments.PCMA, "pcm_alaw", "alaw", "alaw"},
	{fragments.LPCM, "pcm_s16be", "ipcm", "ipcm"},
}

// TestPlayersOpenEachCodec has ffprobe open a file of each codec and ffmpeg
// decode it, both without a warning, and compares size, rate, duration and the
// number of frames.
func TestPlayersOpenEachCodec(t *testing.T) {
	for _, c := range opens {
		t.Run(string(c.codec), func(t *testing.T) {
			clip := encode(t, c.codec)
			name := file(t, 5, clip)
			streams := probe(t, name, "-count_packets")
			if len(streams) != 1 {
				t.Fatalf("%d streams, want 1", len(streams))
			}
			got := streams[0]
			want := map[string]string{"codec_name": c.probed, "codec_tag_string": c.tag, "nb_read_packets": strconv.Itoa(len(clip.samples))}
			if c.codec.Kind() == fragments.KindVideo {
				want["width"], want["height"], want["start_pts"] = "320", "180", strconv.Itoa(int(clip.samples[0].Offset))
			} else {
				want["sample_rate"], want["channels"] = strconv.Itoa(clip.track.SampleRate), strconv.Itoa(clip.track.Channels)
			}
			for k, w := range want {
				if got[k] != w {
					t.Errorf("%s is %q, want %q", k, got[k], w)
				}
			}
			// ffmpeg says of all PCM, in any file, that it guesses where its speakers are.
			run(t, nil, "ffmpeg", "-v", "warning", "-guess_layout_max", "0", "-i", name, "-f", "null", "-")
			if s, err := cmaf.CodecString(clip.track); err != nil || s != c.string {
				t.Errorf("codec string %q (%v), want %q", s, err, c.string)
			}
		})
	}
}

// TestPlayersOpenAllTracks has a file of one track of each codec.
func TestPlayersOpenAllTracks(t *testing.T) {
	var clips []clip
	for _, c := range opens {
		clips = append(clips, encode(t, c.codec))
	}
	streams := probe(t, file(t, 7, clips...))
	if len(streams) != len(clips) {
		t.Fatalf("%d streams, want %d", len(streams), len(clips))
	}
	for i, c := range opens {
		if streams[i]["codec_name"] != c.probed || streams[i]["id"] != "0x"+strconv.FormatInt(int64(i+1), 16) {
			t.Errorf("stream %d is %s with id %s, want %s", i, streams[i]["codec_name"], streams[i]["id"], c.probed)
		}
	}
}

// TestPlayersPassOverExact: the box that says what standard boxes cannot is in
// no player's way.
func TestPlayersPassOverExact(t *testing.T) {
	vp9, lpcm, aac := encode(t, fragments.VP9), encode(t, fragments.LPCM), encode(t, fragments.AAC)
	unknown, fast, doubled := *vp9.track, *lpcm.track, *aac.track
	unknown.Params = nil
	fast.SampleRate, fast.TimeScale = 96000, 96000
	doubled.Params = append(slices.Clone(doubled.Params), []byte("another"))
	vp9.track, lpcm.track, aac.track = &unknown, &fast, &doubled
	name := file(t, 5, vp9, lpcm, aac)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(data, []byte("kw-track")); n != 3 {
		t.Fatalf("%d tracks have an exact box, want 3", n)
	}
	streams := probe(t, name)
	if len(streams) != 3 || streams[0]["codec_name"] != "vp9" || streams[1]["sample_rate"] != "96000" || streams[2]["codec_name"] != "aac" {
		t.Errorf("streams are %v", streams)
	}
	run(t, nil, "ffmpeg", "-v", "warning", "-guess_layout_max", "0", "-i", name, "-map", "0", "-f", "null", "-")
}

// TestPlayersPassOverOpaque: a track of a codec that nobody knows leaves the
// others as they are. (ffprobe warns of any stream it has no decoder for.)
func TestPlayersPassOverOpaque(t *testing.T) {
	video := encode(t, fragments.H264)
	name := file(t, 5, video, clip{
		&fragments.Track{Codec: fragments.Opaque, TimeScale: 1000, CodecID: "S_TEXT/UTF8", Params: [][]byte{[]byte("private")}},
		[]fragments.Sample{{Duration: 1000, Key: true, Payload: [][]byte{[]byte("text")}}},
	})
	streams := probe(t, name, "-v", "error")
	if len(streams) != 2 || streams[0]["codec_name"] != "h264" || streams[1]["codec_type"] != "data" {
		t.Errorf("streams are %v", streams)
	}
	if got, want := frameHashes(t, name, "0:v"), frameHashes(t, file(t, 5, video), "0:v"); got != want || got == "" {
		t.Errorf("video beside an opaque track decodes to\n%swant\n%s", got, want)
	}
}
