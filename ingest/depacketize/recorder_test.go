package depacketize

import (
	"encoding/hex"
	"log/slog"
	"strings"
	"testing"

	"github.com/kineweir/kineweir/fragments"
)

// recorder is a session that keeps what it is given.
type recorder struct {
	tracks []*fragments.Track // when it was opened
	opened int
	units  []*fragments.AccessUnit
	lost   uint64
	jitter map[int]float64
	closed bool
}

func (r *recorder) open(tracks []*fragments.Track) (Session, error) {
	r.tracks = tracks
	r.opened++
	return r, nil
}

func (r *recorder) Write(au *fragments.AccessUnit)    { r.units = append(r.units, au) }
func (r *recorder) Lost(n uint64)                     { r.lost += n }
func (r *recorder) Jitter(track int, seconds float64) { r.jitter[track] = seconds }
func (r *recorder) Close(error)                       { r.closed = true }

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// logTo sends a log to the test, which shows it when it fails.
func logTo(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
