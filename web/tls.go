package web

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// TLSOptions say where the certificate comes from.
type TLSOptions struct {
	// CertFile and KeyFile are PEM files, both or none. They are read again when
	// they change, so that a renewed certificate needs no restart.
	CertFile, KeyFile string
	// Dir is where a self-made certificate is kept when no files are given;
	// required then.
	Dir string
	// Hosts are the names and addresses a self-made certificate is for, besides
	// localhost and the name of this machine.
	Hosts []string
	// Log is required.
	Log *slog.Logger
}

// The files of a self-made certificate, and its life: short enough for
// browsers (825 days at most), renewed at a start in its last month.
const (
	selfMadeCert  = "tls-cert.pem"
	selfMadeKey   = "tls-key.pem"
	selfMadeLife  = 397 * 24 * time.Hour
	selfMadeRenew = 30 * 24 * time.Hour
)

// TLSConfig returns what a TLS listener needs: from the given files, or with a
// certificate made here and kept in Dir.
func TLSConfig(o TLSOptions) (*tls.Config, error) {
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, errors.New("tls: a certificate file and a key file belong together: give both or none")
	}
	certFile, keyFile := o.CertFile, o.KeyFile
	if certFile == "" {
		certFile, keyFile = filepath.Join(o.Dir, selfMadeCert), filepath.Join(o.Dir, selfMadeKey)
		if err := ensureSelfMade(certFile, keyFile, o.Hosts, time.Now()); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
	}
	f := &certFiles{cert: certFile, key: keyFile, log: o.Log}
	if err := f.load(); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.current(time.Now()), nil },
	}, nil
}

// certFiles is a certificate that follows its files.
type certFiles struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex // guards the fields below
	loaded  *tls.Certificate
	mod     time.Time // of the certificate file when it was loaded
	checked time.Time
}

const certCheck = 10 * time.Second

// current returns the certificate, looking for a newer one now and then. A
// newer one that cannot be used leaves the old one in place.
func (f *certFiles) current(now time.Time) *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.checked) < certCheck {
		return f.loaded
	}
	f.checked = now
	if st, err := os.Stat(f.cert); err != nil || st.ModTime().Equal(f.mod) {
		return f.loaded
	}
	if err := f.load(); err != nil {
		f.log.Warn("tls: the changed certificate cannot be used, the old one stays", "error", err)
	} else {
		f.log.Info("tls: certificate loaded again", "file", f.cert)
	}
	return f.loaded
}

func (f *certFiles) load() error {
	st, err := os.Stat(f.cert)
	if err != nil {
		return err
	}
	c, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", f.cert, f.key, err)
	}
	f.loaded, f.mod = &c, st.ModTime()
	return nil
}

// ensureSelfMade makes a certificate unless the files hold one that covers
// hosts and lasts.
func ensureSelfMade(certFile, keyFile string, hosts []string, now time.Time) error {
	hosts = selfMadeHosts(hosts)
	c, err := tls.LoadX509KeyPair(certFile, keyFile)
	switch {
	case err == nil && covers(c.Leaf, hosts) && now.Before(c.Leaf.NotAfter.Add(-selfMadeRenew)):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("self-made certificate %s: %w: remove the file to have a new one made", certFile, err)
	}
	certPEM, keyPEM, err := makeCertificate(hosts, now)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	// The key first: a certificate without its key would be refused, a key
	// without its certificate is made anew.
	if err := os.MkdirAll(filepath.Dir(certFile), 0o700); err != nil {
		return err
	}
	_ = os.Remove(certFile)
	if err := writeFile(keyFile, keyPEM, 0o600); err != nil {
		return err
	}
	return writeFile(certFile, certPEM, 0o644)
}

// selfMadeHosts adds what every certificate of ours is for and drops what no
// certificate can be for.
func selfMadeHosts(hosts []string) []string {
	all := []string{"localhost", "127.0.0.1", "::1"}
	if h, err := os.Hostname(); err == nil {
		all = append(all, h)
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); h != "" && (ip == nil || !ip.IsUnspecified()) {
			all = append(all, h)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func covers(leaf *x509.Certificate, hosts []string) bool {
	return !slices.ContainsFunc(hosts, func(h string) bool { return leaf.VerifyHostname(h) != nil })
}

func makeCertificate(hosts []string, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Kineweir, self-made"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(selfMadeLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	return certPEM, keyPEM, nil
}

// writeFile replaces a file whole, with the given mode.
func writeFile(name string, data []byte, mode fs.FileMode) error {
	tmp := name + ".new"
	_ = os.Remove(tmp) // an old one might have another mode
	if err := os.WriteFile(tmp, data, mode); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
