package main

import (
	"context"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startServer runs serve in a folder on free ports until the test ends.
func startServer(t *testing.T, dir string) (listening, *Config) {
	t.Helper()
	c, err := loadConfig("", nil, []setting{
		{"data", dir, "test"},
		{"http.addr", "127.0.0.1:0", "test"},
		{"rtsp.addr", "127.0.0.1:0", "test"},
		{"rtsp.tls_addr", "", "test"},
		{"rtsp.udp_addr", "", "test"},
	})
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
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := loadConfig("", nil, append([]setting{
				{"http.addr", "127.0.0.1:0", "test"}, {"rtsp.addr", "127.0.0.1:0", "test"}, {"rtsp.tls_addr", "", "test"}, {"rtsp.udp_addr", "", "test"},
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

// TestDataFolderIsPrivate sees that other users of the machine can read nothing:
// what is kept are the pictures of cameras, and their passwords.
func TestDataFolderIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil { // as mkdir and package managers make it
		t.Fatal(err)
	}
	startServer(t, dir)
	for _, private := range []string{"bucket", "journal", "meta", "settings", "spool"} {
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
	if info, err := os.Stat(filepath.Join(dir, "settings")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the passwords of cameras are in a folder of mode %v (%v)", info.Mode(), err)
	}
}
