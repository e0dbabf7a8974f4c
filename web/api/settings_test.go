package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/playback/detect"
)

// fakeSettings keeps settings in memory; those of "fixed" are fixed.
type fakeSettings map[fragments.StreamName]StreamSettings

func (f fakeSettings) Get(name fragments.StreamName) StreamSettings {
	if s, ok := f[name]; ok {
		return s
	}
	return StreamSettings{Before: 10 * time.Second, After: 10 * time.Second, Fixed: name == "fixed"}
}

func (f fakeSettings) Set(_ context.Context, name fragments.StreamName, s StreamSettings) error {
	if name == "fixed" {
		return ErrFixedSettings
	}
	if name == "full" {
		return fmt.Errorf("keep the settings: %w", journal.ErrFull)
	}
	f[name] = s
	return nil
}

func (f fakeSettings) Delete(_ context.Context, name fragments.StreamName) error {
	delete(f, name)
	return nil
}

func (fakeSettings) Detectors(name fragments.StreamName) []detect.Status {
	return []detect.Status{{Camera: name, Kind: "motion", State: "error", Err: errors.New("no ffmpeg"), Pictures: 7, Events: 2}}
}

func TestSettings(t *testing.T) {
	set := fakeSettings{}
	f := newFixture(t, func(o *Options) { o.Settings = set })
	for _, tc := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "door", "", 200, `"record":"all","before":10,"after":10,"late":0,"motion":null,"detector":null,"fixed":false`},
		{"PUT", "door", `{"record":"events","before":5}`, 200, `"record":"events","before":5,"after":10,"late":0`},
		{"PUT", "door", `{"late":301}`, 400, "write seconds"},
		{"PUT", "door", `{"late":-1}`, 400, "write seconds"},
		{"PUT", "door", `{"late":45}`, 200, `"late":45`},
		{"PUT", "door", `{"late":0}`, 200, `"late":0`},
		{"PUT", "door", `{"motion":{"sensitivity":70,"zones":[{"points":[[0,0],[1,0],[1,1]],"ignore":true}]}}`, 200, `"record":"events","before":5,"after":10,"late":0,"motion":{"sensitivity":70`},
		{"PUT", "door", `{"detector":{"name":"yolo","url":"http://127.0.0.1:9/d","min_score":0.4}}`, 200, `"url":"http://127.0.0.1:9/d"`},
		{"GET", "door", "", 200, `"detectors":[{"kind":"motion","state":"error","error":`},
		{"PUT", "door", `{"motion":null}`, 200, `"motion":null`},
		{"PUT", "door", `{"record":"some"}`, 400, "write all, or events"},
		{"PUT", "door", `{"before":-1}`, 400, "write seconds"},
		{"PUT", "door", `{"after":301}`, 400, "write seconds"},
		{"PUT", "door", `{"motion":{"sensitivity":700}}`, 400, "sensitivity 700"},
		{"PUT", "door", `{"motion":{"zones":[{"points":[[0,0]]}]}}`, 400, "zone 1"},
		{"PUT", "door", `{"motion":{"quiet":1e300}}`, 400, "quiet"},
		{"PUT", "zoned", `{"motion":{"zones":[{"points":[[0,0],[1,0],[1,1]],"ignore":true}]}}`, 200, `"ignore":true`},
		{"PUT", "zoned", `{"motion":{"zones":[{"points":[[0,0],[9,0],[1,1]]}]}}`, 400, "zone 1"},
		{"GET", "zoned", "", 200, `[[0,0],[1,0],[1,1]],"ignore":true`},
		{"PUT", "zoned", `{"motion":{"sensitivity":60}}`, 200, `[[0,0],[1,0],[1,1]],"ignore":true`},
		{"PUT", "zoned", `{"motion":{"zones":[{"points":[[0,0],[0.5,0],[1,1]]}]}}`, 200, `"zones":[{"points":[[0,0],[0.5,0],[1,1]]}]`},
		{"PUT", "zoned", `{"motion":{"zones":[]}}`, 200, `"zones":[]`},
		{"PUT", "door", `{"detector":{"command":["rm"]}}`, 400, "config file only"},
		{"PUT", "door", `{"recording":"all"}`, 400, ""},
		{"PUT", "fixed", `{"record":"events"}`, 409, "fixed_settings"},
		{"PUT", "full", `{"record":"events"}`, 507, "disk is full"},
		{"PUT", "plain", `{"motion":{}}`, 200, `"motion":{"sensitivity":50,"fps":5,"quiet":3,"zones":[]}`},
		{"PUT", "plain", `{"detector":{"url":"http://127.0.0.1:9/d"}}`, 200, `"fps":2,"width":640,"height":360,"timeout":5,"min_score":0.5,"sure":2,"quiet":3`},
		{"DELETE", "door", "", 204, ""},
		{"GET", "door", "", 200, `"record":"all"`},
	} {
		status, body := f.do("root", tc.method, "/api/streams/"+tc.path+"/settings", tc.body)
		if status != tc.status || !strings.Contains(body, tc.says) {
			t.Errorf("%s %s %s: %d %s, want %d %s", tc.method, tc.path, tc.body, status, body, tc.status, tc.says)
		}
	}
	if status, _ := f.do("guest", "GET", "/api/streams/door/settings", ""); status != http.StatusForbidden && status != http.StatusUnauthorized {
		t.Errorf("somebody else: %d", status)
	}
}
