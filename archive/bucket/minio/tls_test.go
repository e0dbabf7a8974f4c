package minio_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/archive/bucket/buckettest"
)

// TestTLS speaks TLS to a server whose certificate this machine knows only when told.
func TestTLS(t *testing.T) {
	server := buckettest.StartVersityGW(t)
	p := newProxy(server)
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	p.Config.ErrorLog = nil

	opts := options(server)
	opts.Endpoint, opts.PartSize = p.URL, 5<<20
	stranger := open(t, opts)
	for verb, call := range calls(stranger) {
		if err := call(t.Context()); !errors.Is(err, bucket.ErrRefused) || !strings.Contains(err.Error(), "does not trust") {
			t.Errorf("%s of a stranger: %v", verb, err)
		}
	}

	opts.RootCAs = x509.NewCertPool()
	opts.RootCAs.AddCert(p.Certificate())
	store := open(t, opts)
	for _, size := range []int{0, 1000, 11 << 20} {
		body := buckettest.Body(1, size)
		put(t, store, "over tls", body, bucket.PutOptions{})
		if !bytes.Equal(read(t, store, "over tls"), body) {
			t.Errorf("%d bytes: other bytes", size)
		}
	}
	if err := store.Check(t.Context()); err != nil {
		t.Error(err)
	}
	store.Close()
	stranger.Close()
}
