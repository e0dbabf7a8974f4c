package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startServer runs serve in a folder on free ports until the test ends.
func startServer(t *testing.T, dir string) (listening, *Config) {
	t.Helper()
	return startServerWith(t, dir)
}

func startServerWith(t *testing.T, dir string, more ...setting) (listening, *Config) {
	t.Helper()
	c, err := loadConfig("", nil, append([]setting{
		{"data", dir, "test"},
		{"http.addr", "127.0.0.1:0", "test"},
		{"rtsp.addr", "127.0.0.1:0", "test"},
		{"rtsp.tls_addr", "", "test"},
		{"rtsp.udp_addr", "", "test"},
		{"webrtc.addr", "127.0.0.1:0", "test"},
	}, more...))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ready, done := make(chan listening, 1), make(chan error, 1)
	go func() { done <- serve(ctx, c, slog.New(slog.DiscardHandler), func(l listening) { ready <- l }) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case l := <-ready:
		return l, c
	case err := <-done:
		done <- nil
		t.Fatal(err)
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not start")
	}
	return listening{}, nil
}

// TestServeRefuses sees that what is taken already is named, with what to do.
func TestServeRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	_, _ = startServer(t, dir)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	taken := busy.Addr().String()
	free := filepath.Join(t.TempDir(), "other")
	for _, tc := range []struct {
		name     string
		settings []setting
		want     []string
	}{
		{"folder of a running server", []setting{{"data", dir, "flag"}}, []string{"data: another server is running on " + dir, "--data"}},
		{"port of HTTP", []setting{{"data", free, "flag"}, {"http.addr", taken, "flag"}}, []string{"http.addr: listen tcp " + taken + ": ", "in use", "set http.addr to another"}},
		{"port of RTSP", []setting{{"data", free, "flag"}, {"rtsp.addr", taken, "flag"}}, []string{"rtsp.addr: listen tcp " + taken + ": ", "in use", "set rtsp.addr to another"}},
		{"port of RTSPS", []setting{{"data", free, "flag"}, {"rtsp.tls_addr", taken, "flag"}}, []string{"rtsp.tls_addr: listen tcp " + taken + ": ", "in use", "set rtsp.tls_addr to another"}},
		{"port of WebRTC", []setting{{"data", free, "flag"}, {"webrtc.addr", taken, "flag"}}, []string{"webrtc.addr: listen tcp " + taken + ": ", "in use", "set webrtc.addr to another"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := loadConfig("", nil, append([]setting{
				{"http.addr", "127.0.0.1:0", "test"}, {"rtsp.addr", "127.0.0.1:0", "test"}, {"rtsp.tls_addr", "", "test"}, {"rtsp.udp_addr", "", "test"}, {"webrtc.addr", "", "test"},
			}, tc.settings...))
			if err != nil {
				t.Fatal(err)
			}
			err = serve(t.Context(), c, slog.New(slog.DiscardHandler), func(listening) { t.Error("it starts") })
			if err == nil {
				t.Fatal("it is not refused")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nwant %q in it", err, want)
				}
			}
		})
	}
}

// postKinesis makes a call of the Kinesis API.
func postKinesis(t *testing.T, l listening, operation, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.HTTP+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "Kinesis_20131202."+operation)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		t.Fatalf("%s: %s %s", operation, answer.Status, text)
	}
}

// TestEphemeral sees that a server that is to keep nothing warns of nothing but
// a folder that was named for it in vain, and leaves nothing behind.
func TestEphemeral(t *testing.T) {
	for _, data := range []string{"", filepath.Join(t.TempDir(), "data")} {
		set := []setting{{"ephemeral", "true", "test"}, {"http.addr", "127.0.0.1:0", "test"}, {"rtsp.addr", "", "test"}, {"rtsp.tls_addr", "", "test"}, {"webrtc.addr", "", "test"}}
		if data != "" {
			set = append(set, setting{"data", data, "flag --data"})
		}
		c, err := loadConfig("", nil, set)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var log bytes.Buffer
		if err := serve(ctx, c, slog.New(slog.NewTextHandler(&log, nil)), func(l listening) {
			postKinesis(t, l, "ListStreams", "{}")
			stop()
		}); err != nil {
			t.Error(err)
		}
		stop()
		warned := strings.Count(log.String(), "level=WARN")
		told := strings.Contains(log.String(), "the data folder is not used")
		if want := data != ""; told != want || warned != strings.Count(log.String(), "the data folder is not used") {
			t.Errorf("data %q:\n%s", data, log.String())
		}
		for _, dir := range []string{c.Data, data} {
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it leaves %s: %v", dir, err)
			}
		}
	}
}

// TestServeDamaged damages what was kept, and sees that the server says where, and
// that it starts after what it says was done.
func TestServeDamaged(t *testing.T) {
	for _, tc := range []struct {
		damage string // the folder in which a byte is turned
		want   string
		mend   func(dir string) error
	}{
		{"records", "without all records and streams, move the folders streams, records and segments out of ", moveOut("streams", "records", "segments")},
		{"streams", "without all records and streams, move the folders streams, records and segments out of ", moveOut("streams", "records", "segments")},
		{"events/meta", "without the detections so far, move the folder events out of ", moveOut("events")},
		{"meta", `make the index of video anew with "kineweir archive rebuild --data `, func(dir string) error {
			var out bytes.Buffer
			if run(t.Context(), []string{"archive", "rebuild", "--data", dir}, console{out: &out, err: &out, env: func() []string { return nil }}) != 0 {
				return errors.New(out.String())
			}
			return nil
		}},
	} {
		t.Run(tc.damage, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			serveOnce := func(meanwhile func(l listening)) error {
				c, err := loadConfig("", nil, []setting{{"data", dir, "test"}, {"http.addr", "127.0.0.1:0", "test"}, {"rtsp.addr", "", "test"}, {"rtsp.tls_addr", "", "test"}})
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				return serve(ctx, c, slog.New(slog.DiscardHandler), func(l listening) { meanwhile(l); stop() })
			}
			fill := func(l listening) {
				postKinesis(t, l, "CreateStream", `{"StreamName": "detections", "ShardCount": 1}`)
				for range 20 {
					postKinesis(t, l, "PutRecord", `{"StreamName": "detections", "PartitionKey": "k", "Data": "QUJD"}`)
				}
			}
			if err := errors.Join(serveOnce(fill), serveOnce(func(listening) {})); err != nil {
				t.Fatal(err)
			}
			turnByte(t, filepath.Join(dir, tc.damage))
			err := serveOnce(func(listening) { t.Error("it starts") })
			if err == nil || !strings.Contains(err.Error(), ": damaged at byte ") || !strings.Contains(err.Error(), tc.want+dir) {
				t.Errorf("it says %v\nwant %q", err, tc.want)
			}
			if err := tc.mend(dir); err != nil {
				t.Fatal(err)
			}
			if err := serveOnce(func(listening) {}); err != nil {
				t.Errorf("mended: %v", err)
			}
		})
	}
}

// moveOut moves folders out of the data folder.
func moveOut(folders ...string) func(dir string) error {
	return func(dir string) (err error) {
		for _, name := range folders {
			err = errors.Join(err, os.Rename(filepath.Join(dir, name), dir+"-"+name))
		}
		return err
	}
}

// turnByte turns a byte of the first frame in a journal of several.
func turnByte(t *testing.T, journal string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(journal, "*.wal"))
	if err != nil || len(files) == 0 {
		t.Fatal("no file in ", journal, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDataFolderIsPrivate sees that other users of the machine can read nothing:
// what is kept are the pictures of cameras, and their passwords.
func TestDataFolderIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil { // as mkdir and package managers make it
		t.Fatal(err)
	}
	l, _ := startServer(t, dir)
	postKinesis(t, l, "CreateStream", `{"StreamName": "s", "ShardCount": 1}`)
	postKinesis(t, l, "StartStreamEncryption", `{"StreamName": "s", "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}`)
	postKinesis(t, l, "PutRecord", `{"StreamName": "s", "PartitionKey": "k", "Data": "QUJD"}`)
	for _, private := range []string{"bucket", "events", "journal", "keys", "meta", "records", "segments", "settings", "spool", "streams"} {
		err := filepath.WalkDir(filepath.Join(dir, private), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode().Perm()&0o007 != 0 {
				t.Errorf("%s can be read by everybody: %v", path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "keys", "keys")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the master keys are in a file of mode %v (%v)", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Join(dir, "settings")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the passwords of cameras are in a folder of mode %v (%v)", info.Mode(), err)
	}
}
