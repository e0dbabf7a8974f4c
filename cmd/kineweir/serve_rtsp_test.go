package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/wal"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
	"github.com/kineweir/kineweir/ingest/rtsp"
	"github.com/kineweir/kineweir/web/api"
)

// slowMeta lets every second Put return late, as a busy disk does.
type slowMeta struct{ journal.Meta }

func (m slowMeta) Put(ctx context.Context, key string, value []byte, expect uint64) (uint64, error) {
	revision, err := m.Meta.Put(ctx, key, value, expect)
	if revision%2 == 1 {
		time.Sleep(2 * time.Millisecond)
	}
	return revision, err
}

// What is pulled is what is kept, whoever sets a camera at the same time: a
// restart must not bring another one.
func TestCamerasSetAtTheSameTime(t *testing.T) {
	store, err := wal.OpenMeta(t.TempDir(), wal.Options{ReserveBytes: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	nobody := func(fragments.StreamName, []*fragments.Track, ingest.Source, func(error)) (rtsp.Session, error) {
		return nil, ingest.ErrClosed
	}
	c := &cameras{pull: rtsp.NewCameras(rtsp.CamerasOptions{Publish: nobody, Hub: live.New()}), store: slowMeta{store}}
	defer c.pull.Close()
	const rounds, callers = 20, 8
	for round := range rounds {
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				cam := api.Camera{Name: "a", URL: fmt.Sprintf("rtsp://127.0.0.1:1/%d-%d", round, i), Transport: "tcp"}
				if err := c.Set(t.Context(), cam); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		value, _, err := store.Get(cameraPrefix + "a")
		if err != nil {
			t.Fatal(err)
		}
		var kept cameraRecord
		if err := json.Unmarshal(value, &kept); err != nil {
			t.Fatal(err)
		}
		if pulled := c.List()[0].URL; pulled != kept.URL {
			t.Fatalf("round %d: pulled is %s, kept is %s", round, pulled, kept.URL)
		}
	}
}
