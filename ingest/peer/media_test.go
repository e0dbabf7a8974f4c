package peer_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pion/webrtc/v4/pkg/media/oggreader"

	"github.com/kineweir/kineweir/fragments"
)

// movie is what an encoder made: the first frame is a key frame, no other is.
type movie struct {
	codec  fragments.Codec
	width  int
	frames [][]byte   // as the encoder gave them
	want   [][][]byte // what an access unit of each holds
}

// movies encodes each movie once for all tests.
var movies = sync.OnceValue(func() *library { return &library{made: map[string]*movie{}} })

type library struct {
	mu   sync.Mutex
	made map[string]*movie
}

func (l *library) get(t *testing.T, codec fragments.Codec, width int) *movie {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	key := fmt.Sprint(codec, width)
	if l.made[key] == nil {
		l.made[key] = encode(t, codec, width)
	}
	return l.made[key]
}

const movieFrames = 30

func encode(t *testing.T, codec fragments.Codec, width int) *movie {
	t.Helper()
	args := map[fragments.Codec][]string{
		fragments.H264: {"-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "baseline", "-g", "1000", "-x264-params", "aud=1:scenecut=0", "-f", "h264"},
		fragments.H265: {"-c:v", "libx265", "-preset", "ultrafast", "-g", "1000", "-x265-params", "aud=1:scenecut=0:bframes=0:log-level=none", "-f", "hevc"},
		fragments.VP8:  {"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-g", "1000", "-auto-alt-ref", "0", "-f", "ivf"},
		fragments.VP9:  {"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "1000", "-auto-alt-ref", "0", "-lag-in-frames", "0", "-f", "ivf"},
		fragments.AV1:  {"-c:v", "libsvtav1", "-preset", "12", "-g", "1000", "-svtav1-params", "pred-struct=1", "-f", "ivf"},
	}[codec]
	return encodeWith(t, codec, width, args...)
}

func encodeWith(t *testing.T, codec fragments.Codec, width int, args ...string) *movie {
	t.Helper()
	file := filepath.Join(t.TempDir(), "movie")
	cmd := append([]string{
		"-v", "error", "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%dx%d:rate=30", width, width*3/4),
		"-frames:v", fmt.Sprint(movieFrames), "-pix_fmt", "yuv420p", "-b:v", "1M",
	}, append(args, file)...)
	if out, err := exec.Command("ffmpeg", cmd...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	data, err := os.ReadFile(file)
	fatal(t, err)
	m := &movie{codec: codec, width: width}
	if codec == fragments.H264 || codec == fragments.H265 {
		m.splitAnnexB(data)
	} else {
		m.splitIVF(data)
	}
	if len(m.frames) != movieFrames {
		t.Fatalf("%s: %d frames, want %d", codec, len(m.frames), movieFrames)
	}
	return m
}

func (m *movie) splitAnnexB(data []byte) {
	delimiter := func(n []byte) bool { return n[0]&0x1f == 9 }
	if m.codec == fragments.H265 {
		delimiter = func(n []byte) bool { return n[0]>>1&0x3f == 35 }
	}
	for part := range bytes.SplitSeq(data, []byte{0, 0, 1}) {
		n := bytes.TrimRight(part, "\x00")
		switch {
		case len(n) == 0:
		case delimiter(n):
			m.frames, m.want = append(m.frames, nil), append(m.want, nil)
		default:
			i := len(m.frames) - 1
			m.frames[i] = append(append(m.frames[i], 0, 0, 0, 1), n...)
			m.want[i] = append(m.want[i], n)
		}
	}
}

func (m *movie) splitIVF(data []byte) {
	for data = data[32:]; len(data) > 12; {
		size := int(binary.LittleEndian.Uint32(data))
		frame := data[12 : 12+size]
		m.frames = append(m.frames, frame)
		if m.codec == fragments.AV1 {
			m.want = append(m.want, splitOBUs(frame))
		} else {
			m.want = append(m.want, [][]byte{frame})
		}
		data = data[12+size:]
	}
}

// splitOBUs returns the OBUs of a temporal unit without their size fields, and
// without the delimiter (AV1 specification section 5.3).
func splitOBUs(tu []byte) (out [][]byte) {
	for len(tu) > 0 {
		header := 1 + int(tu[0]>>2&1)
		size, n := binary.Uvarint(tu[header:])
		obu := append([]byte{tu[0] &^ 2}, tu[1:header]...)
		obu = append(obu, tu[header+n:header+n+int(size)]...)
		if obu[0]>>3&0xf != 2 {
			out = append(out, obu)
		}
		tu = tu[header+n+int(size):]
	}
	return out
}

// sound returns Opus packets of 20 ms.
var sound = sync.OnceValues(func() ([][]byte, error) {
	out, err := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "1",
		"-ac", "2", "-c:a", "libopus", "-b:a", "64k", "-page_duration", "20000", "-f", "ogg", "-").Output()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg: %w", err)
	}
	r, _, err := oggreader.NewWith(bytes.NewReader(out))
	if err != nil {
		return nil, err
	}
	var packets [][]byte
	for {
		p, _, err := r.ParseNextPage()
		if err != nil {
			return packets, nil
		}
		if !bytes.HasPrefix(p, []byte("OpusTags")) {
			packets = append(packets, p)
		}
	}
})

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
