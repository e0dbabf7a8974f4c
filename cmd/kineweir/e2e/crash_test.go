package e2e

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKillUnderLoad kills the server ten times while cameras record. What a
// playlist has once shown is acknowledged: it must come back, the same bytes.
func TestKillUnderLoad(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	s := serve(t, "archive:\n  segment_age: 3s\n")
	const cameras, kills = 3, 10
	begin := time.Now().Add(-time.Minute)
	ledger := map[string]uint32{} // path of a segment -> checksum of its bytes
	for kill := range kills {
		var stops []func()
		for c := range cameras {
			stops = append(stops, testCamera(t, fmt.Sprintf("rtsp://%s/cam%d", s.rtsp, c), "-t 60"))
		}
		life := 2500*time.Millisecond + time.Duration(rng.Int64N(int64(3*time.Second)))
		for end := time.Now().Add(life); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			for c := range cameras {
				acknowledge(t, s, fmt.Sprintf("cam%d", c), begin, ledger, false)
			}
		}
		s.kill()
		for _, stop := range stops {
			stop()
		}
		s.start()
		for c := range cameras {
			acknowledge(t, s, fmt.Sprintf("cam%d", c), begin, ledger, true)
		}
		t.Logf("kill %d after %v: %d segments acknowledged", kill+1, life, len(ledger))
	}
	t.Logf("%d iterations, seed %d, %d segments", kills, seed, len(ledger))
	if len(ledger) < cameras*kills {
		t.Errorf("only %d segments were ever acknowledged", len(ledger))
	}
	s.stop()
	objects := 0
	filepath.WalkDir(s.data, func(file string, d os.DirEntry, err error) error {
		if err == nil && filepath.Ext(file) == ".mp4" {
			objects++
			if out := run(t, 20*time.Second, "ffprobe", "-v", "warning", "-show_entries", "format=duration", "-of", "csv=p=0", file); strings.TrimSpace(out) == "" {
				t.Errorf("%s: ffprobe finds no duration", file)
			}
		}
		return nil
	})
	if objects == 0 {
		t.Error("no objects in the data folder")
	}
	t.Logf("%d objects open in ffprobe", objects)
}

// acknowledge enters the segments that the playlist shows into the ledger, and
// with check set proves that all of the ledger's are there and unchanged.
func acknowledge(t *testing.T, s *server, stream string, begin time.Time, ledger map[string]uint32, check bool) {
	t.Helper()
	at := s.http + "/hls/" + stream + "/index.m3u8" + span(begin, time.Now().Add(time.Hour))
	code, text := fetch(t, at)
	if code != http.StatusOK {
		if check && hasStream(ledger, stream) {
			t.Fatalf("GET %s: %d\n%s", at, code, text)
		}
		return
	}
	video, _, _ := variant(t, at)
	seen := map[string]bool{}
	for _, seg := range media(t, video).segments {
		key := "/hls/" + stream + "/" + path.Base(strings.SplitN(seg.url, "?", 2)[0])
		seen[key] = true
		sum, known := ledger[key]
		if known && !check {
			continue
		}
		code, body := fetch(t, seg.url)
		if code != http.StatusOK {
			t.Fatalf("GET %s: %d\n%s", seg.url, code, body)
		}
		got := crc32.ChecksumIEEE([]byte(body))
		if known && got != sum {
			t.Errorf("%s: other bytes after the crash", key)
		}
		ledger[key] = got
	}
	if !check {
		return
	}
	for key := range ledger {
		if strings.HasPrefix(key, "/hls/"+stream+"/") && !seen[key] {
			t.Errorf("%s was acknowledged and is gone", key)
		}
	}
}

func hasStream(ledger map[string]uint32, stream string) bool {
	for key := range ledger {
		if strings.HasPrefix(key, "/hls/"+stream+"/") {
			return true
		}
	}
	return false
}
