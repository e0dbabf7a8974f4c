package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSelfMadeCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	o := TLSOptions{Dir: dir, Hosts: []string{"cams.example.org", "0.0.0.0", ""}, Log: slog.New(slog.DiscardHandler)}
	conf, err := TLSConfig(o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Addrs: []string{"127.0.0.1:0"}, TLS: conf, Log: o.Log, Routes: []Route{{"GET /x", API, text("sealed")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(context.Background()) }()

	first, err := os.ReadFile(filepath.Join(dir, selfMadeCert))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(first)
	for _, name := range []string{"127.0.0.1", "localhost", "cams.example.org"} {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: name}}}
		res, err := client.Get("https://" + s.Addrs()[0].String() + "/x")
		if err != nil {
			t.Errorf("as %s: %v", name, err)
			continue
		}
		if b, _ := io.ReadAll(res.Body); string(b) != "sealed" {
			t.Errorf("as %s: %s", name, b)
		}
		_ = res.Body.Close()
		client.CloseIdleConnections()
	}
	if st, err := os.Stat(filepath.Join(dir, selfMadeKey)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v %v, want mode 0600", st.Mode(), err)
	}

	for _, c := range []struct {
		name   string
		change func(*TLSOptions)
		now    time.Time
		renew  bool
	}{
		{"nothing changed", func(*TLSOptions) {}, time.Now(), false},
		{"another host", func(o *TLSOptions) { o.Hosts = append(o.Hosts, "second.example.org") }, time.Now(), true},
		{"about to end", func(*TLSOptions) {}, time.Now().Add(selfMadeLife - selfMadeRenew + time.Hour), true},
	} {
		if err := os.WriteFile(filepath.Join(dir, selfMadeCert), first, 0o644); err != nil {
			t.Fatal(err)
		}
		keyName := filepath.Join(dir, selfMadeKey)
		key, _ := os.ReadFile(keyName)
		o := o
		c.change(&o)
		if err := ensureSelfMade(filepath.Join(dir, selfMadeCert), keyName, o.Hosts, c.now); err != nil {
			t.Fatal(err)
		}
		now, _ := os.ReadFile(filepath.Join(dir, selfMadeCert))
		if renewed := string(now) != string(first); renewed != c.renew {
			t.Errorf("%s: made anew = %v, want %v", c.name, renewed, c.renew)
		}
		_ = os.WriteFile(keyName, key, 0o600)
	}
}

func TestCertificateFilesAreFollowed(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	put := func(host string, mod time.Time) {
		c, k, err := makeCertificate([]string{host}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = os.WriteFile(cert, c, 0o600), os.WriteFile(key, k, 0o600)
		if err := os.Chtimes(cert, mod, mod); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	put("first.example", start)
	f := &certFiles{cert: cert, key: key, log: slog.New(slog.DiscardHandler)}
	if err := f.load(); err != nil {
		t.Fatal(err)
	}
	name := func(now time.Time) string { return f.current(now).Leaf.DNSNames[0] }
	if got := name(start.Add(time.Minute)); got != "first.example" {
		t.Errorf("got %s", got)
	}
	put("second.example", start.Add(time.Hour))
	if got := name(start.Add(time.Minute + time.Second)); got != "first.example" {
		t.Errorf("looked again too soon: %s", got)
	}
	if got := name(start.Add(2 * time.Minute)); got != "second.example" {
		t.Errorf("after the change: %s", got)
	}
	_ = os.WriteFile(cert, []byte("rubbish"), 0o600)
	if got := name(start.Add(3 * time.Minute)); got != "second.example" {
		t.Errorf("a bad file must leave the old certificate: %s", got)
	}
}

func TestTLSOptionsRefused(t *testing.T) {
	dir := t.TempDir()
	_ = os.WriteFile(filepath.Join(dir, selfMadeCert), []byte("rubbish"), 0o600)
	_ = os.WriteFile(filepath.Join(dir, selfMadeKey), []byte("rubbish"), 0o600)
	for _, c := range []struct {
		o    TLSOptions
		says string
	}{
		{TLSOptions{CertFile: "c.pem"}, "belong together"},
		{TLSOptions{CertFile: dir + "/none.pem", KeyFile: dir + "/none.key"}, "none.pem"},
		{TLSOptions{Dir: dir}, "remove the file"},
	} {
		if _, err := TLSConfig(c.o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.says)
		}
	}
}
