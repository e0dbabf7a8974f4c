package auth

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kineweir/kineweir/ingest"
)

func TestPrepare(t *testing.T) {
	const usable = "users: {a: {password: 12345678}}\n"
	for _, c := range []struct {
		name     string
		addrs    []string
		insecure bool
		named    bool   // auth.file is given
		there    string // what the file holds; "" is no file
		open     bool
		firstKey bool
		says     string // of the error
	}{
		{name: "loopback", addrs: []string{"127.0.0.1:8080", "[::1]:8554", "localhost:1", "127.9.9.9:1"}, open: true},
		{name: "loopback, file in the data folder", addrs: []string{"127.0.0.1:8080"}, there: usable},
		{name: "loopback, file named", addrs: []string{"127.0.0.1:8080"}, named: true, there: usable},
		{name: "loopback, named file missing", addrs: []string{"127.0.0.1:8080"}, named: true, firstKey: true},
		{name: "loopback, insecure", addrs: []string{"127.0.0.1:8080"}, insecure: true, open: true},
		{name: "every address", addrs: []string{"127.0.0.1:8080", ":8554"}, firstKey: true},
		{name: "every address, v4", addrs: []string{"0.0.0.0:8080"}, firstKey: true},
		{name: "every address, v6", addrs: []string{"[::]:8080"}, firstKey: true},
		{name: "one other address", addrs: []string{"192.0.2.1:8080"}, firstKey: true},
		{name: "a name", addrs: []string{"cams.example.org:8080"}, firstKey: true},
		{name: "a name that looks local", addrs: []string{"localhost.example.org:8080"}, firstKey: true},
		{name: "elsewhere, file", addrs: []string{":8080"}, there: usable},
		{name: "elsewhere, named file missing", addrs: []string{":8080"}, named: true, firstKey: true},
		{name: "elsewhere, insecure", addrs: []string{":8080"}, insecure: true, open: true},
		{name: "elsewhere, insecure, file in the data folder", addrs: []string{":8080"}, insecure: true, there: usable, open: true},
		{name: "insecure and a file named", addrs: []string{":8080"}, insecure: true, named: true, there: usable, says: "--insecure"},
		{name: "elsewhere, broken file", addrs: []string{":8080"}, there: "users: {a: {pass: x}}", says: `unknown key "pass"`},
		{name: "loopback, broken file", addrs: []string{"127.0.0.1:1"}, there: "nonsense", says: "credentials file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Options{DataDir: filepath.Join(t.TempDir(), "data"), Addrs: c.addrs, Insecure: c.insecure, Log: quiet()}
			file := filepath.Join(o.DataDir, DefaultFile)
			if c.named {
				file = filepath.Join(t.TempDir(), "etc", "users.yaml")
				o.File = file
			}
			if c.there != "" {
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(c.there), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, key, err := Prepare(o)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("error = %v, want %q", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if s.Open() != c.open || (key != "") != c.firstKey {
				t.Fatalf("open %v, first key %q; want %v, %v", s.Open(), key, c.open, c.firstKey)
			}
			if s.Allowed("", ingest.Publish, "x") != c.open {
				t.Errorf("anonymous may publish = %v", !c.open)
			}
			if c.firstKey {
				checkFirstKey(t, s, o, file, key)
			}
		})
	}
}

func checkFirstKey(t *testing.T, s *Store, o Options, file, key string) {
	t.Helper()
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("file: %v %v, want mode 0600", st, err)
	}
	if u := s.verify(FirstUser, key); u == nil || !u.Admin {
		t.Error("the first key does not prove the first user")
	}
	again, second, err := Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if second != "" || again.verify(FirstUser, key) == nil {
		t.Errorf("second start: key %q; the first one must stay", second)
	}
}

func TestFileModeIsWarnedOf(t *testing.T) {
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true} {
		dir := t.TempDir()
		file := filepath.Join(dir, DefaultFile)
		if err := os.WriteFile(file, []byte(sample), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		s, _, err := Prepare(Options{DataDir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if got := strings.Contains(log.String(), "chmod 600"); got != warned {
			t.Errorf("mode %o: warned = %v, want %v", mode, got, warned)
		}
	}
}
