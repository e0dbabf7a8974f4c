package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/archive/bucket/buckettest"
)

// Video goes to an S3 store and plays from there. While the store is dead,
// recording and live viewing go on; when it is back, everything reaches it.
func TestS3StoreDiesAndComesBack(t *testing.T) {
	for _, tc := range []struct {
		name  string
		start func(testing.TB) *buckettest.Server
	}{{"MinIO", buckettest.StartMinIO}, {"versitygw", buckettest.StartVersityGW}} {
		t.Run(tc.name, func(t *testing.T) {
			store := tc.start(t)
			s := serve(t, fmt.Sprintf("archive:\n  segment_age: 2s\n  bucket:\n    type: minio\n    endpoint: %s\n    bucket: video\n"+
				"    access_key: %s\n    secret_key: %s\n    secure: false\n    create: true\n", store.Endpoint, store.AccessKey, store.SecretKey))
			begin := time.Now()
			testCamera(t, "rtsp://"+s.rtsp+"/cam", "")
			waitLive(t, s, "cam", 3)
			uploaded := func() float64 { return metric(t, s, "kineweir_archive_uploads_total") }
			eventually(t, 30*time.Second, "objects in the store", func() bool { return uploaded() >= 2 })
			store.Kill()
			dead := time.Now()
			time.Sleep(6 * time.Second)
			before := uploaded()
			b := play(t, playOptions{URL: s.http + "/hls/cam/live.m3u8?window=4", Seconds: 4})
			if len(b.Errors) > 0 || b.Decoded < 60 {
				t.Errorf("live without the store: %d frames, errors %v", b.Decoded, b.Errors)
			}
			store.Restart()
			eventually(t, 90*time.Second, "what waited to be uploaded", func() bool {
				return uploaded() >= before+2 && metric(t, s, `kineweir_stream_spool_bytes{stream="cam"}`) < 2<<20
			})
			end := dead.Add(8 * time.Second)
			video, _, _ := variant(t, s.http+"/hls/cam/index.m3u8"+span(begin, end))
			p := media(t, video)
			total := time.Duration(0)
			for _, seg := range p.segments {
				total += seg.duration
				if code, body := fetch(t, seg.url); code != 200 {
					t.Errorf("%s: %d %s", seg.url, code, body)
				}
			}
			if want := end.Sub(begin) - 5*time.Second; total < want || p.discontinuity != 0 {
				t.Errorf("%v of video around the outage, want %v without a break:\n%s", total, want, p.text)
			}
		})
	}
}

// metric returns the value of a sample of /metrics, 0 when there is none.
func metric(t *testing.T, s *server, name string) float64 {
	t.Helper()
	for line := range strings.Lines(string(s.get("/metrics"))) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			var v float64
			if _, err := fmt.Sscan(rest, &v); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return v
		}
	}
	return 0
}
