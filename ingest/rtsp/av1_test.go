package rtsp

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"

	"github.com/kineweir/kineweir/fragments"
)

// Neither ffmpeg 5 nor GStreamer 1.22 sends AV1: ffmpeg encodes it and our
// publisher sends it, as a temporal unit in an IVF file comes, with size fields.
func TestAV1OfAnEncoder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.ivf")
	tool(t, "ffmpeg", "ffmpeg", "-v", "error", "-f", "lavfi", "-i", testVideo, "-t", "1.2", "-pix_fmt", "yuv420p",
		"-c:v", "libsvtav1", "-preset", "12", "-g", "10", "-svtav1-params", "pred-struct=1", file)
	data, err := os.ReadFile(file)
	fatal(t, err)
	s, rec := newTestServer(t, nil)
	track := &fragments.Track{ID: 1, Codec: fragments.AV1, TimeScale: 90000}
	p, err := publish(t, s.url("cam"), func(o *PublisherOptions) { o.Tracks = []*fragments.Track{track} })
	fatal(t, err)
	start, n := time.Now(), 0
	for data = data[32:]; len(data) > 12; n++ { // the IVF header, then frames of 12 bytes of header
		size := binary.LittleEndian.Uint32(data)
		var tu av1.Bitstream
		fatal(t, tu.Unmarshal(data[12:12+size]))
		fatal(t, p.Write(&fragments.AccessUnit{
			Track: track, PTS: int64(n) * 3600, Payload: tu, Capture: fragments.ProducerTime(start.Add(time.Duration(n) * 40 * time.Millisecond)),
		}))
		data = data[12+size:]
	}
	fatal(t, p.Close())
	session := rec.session(t, 0)
	fatal(t, session.waitClosed(t))
	checkMedia(t, session.all(), fragments.AV1, n, 1)
	for i, au := range session.all() {
		if i%10 == 0 != au.Key {
			t.Errorf("unit %d: key %v", i, au.Key)
		}
	}
}
