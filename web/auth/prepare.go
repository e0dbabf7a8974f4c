package auth

import (
	"bufio"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options say how the server is reached and who may be let in.
type Options struct {
	// File is the credentials file; "" is credentials.yaml in DataDir, if there is
	// one or one is needed.
	File string
	// Addrs are all addresses that will be listened on (HTTP, RTSP, ...), host:port.
	Addrs []string
	// Insecure lets everybody in, from everywhere.
	Insecure bool
	// DataDir keeps what is made here: required.
	DataDir string
	// TokenLife is how long a token lasts that a playlist hands out; default 24 h.
	TokenLife time.Duration
	// Log is required.
	Log *slog.Logger
}

// DefaultFile is the name of the credentials file in the data folder.
const DefaultFile = "credentials.yaml"

// FirstUser is whom the first key of a new credentials file belongs to.
const FirstUser = "admin"

// Prepare decides who is let in and returns the Store that knows.
//
// On addresses of this machine alone nobody needs credentials unless a
// credentials file is named or stands in the data folder. To listen elsewhere
// there must be credentials: without a file one is made, and firstKey is the
// key in it, to be shown once (it is "" otherwise). Only Insecure does without.
func Prepare(o Options) (s *Store, firstKey string, err error) {
	if o.DataDir == "" || o.Log == nil {
		return nil, "", errors.New("auth: a data folder and a log are required")
	}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, "", fmt.Errorf("auth: %w", err)
	}
	s, firstKey, err = prepareStore(o)
	if err != nil {
		return nil, "", err
	}
	s.tokens, err = newTokens(o.DataDir, s.credential, o.TokenLife)
	if err != nil {
		s.Close()
		return nil, "", err
	}
	return s, firstKey, nil
}

func prepareStore(o Options) (s *Store, firstKey string, err error) {
	outside := outsideAddr(o.Addrs)
	file := o.File
	if file == "" {
		file = filepath.Join(o.DataDir, DefaultFile)
	}
	_, missing := os.Stat(file)
	switch {
	case o.Insecure && o.File != "":
		return nil, "", fmt.Errorf("credentials: --insecure lets everybody in, yet auth.file names %s: give one of the two", o.File)
	case o.Insecure:
		if outside != "" {
			o.Log.Warn("everybody who reaches this server may watch, publish and delete: --insecure is set", "address", outside)
		}
		return openStore(o.Log), "", nil
	case missing == nil:
		s, err = loadStore(file, o.Log)
		return s, "", err
	case !errors.Is(missing, fs.ErrNotExist):
		return nil, "", fmt.Errorf("credentials: %w", missing)
	case o.File == "" && outside == "":
		return openStore(o.Log), "", nil
	}
	firstKey, err = create(file)
	if err != nil {
		return nil, "", fmt.Errorf("credentials: make %s: %w", file, err)
	}
	s, err = loadStore(file, o.Log)
	return s, firstKey, err
}

// outsideAddr returns the first address that others than this machine can
// reach, or "". A name counts as reachable unless it is localhost: what it
// resolves to may change.
func outsideAddr(addrs []string) string {
	for _, a := range addrs {
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			host = a
		}
		ip, err := netip.ParseAddr(host)
		if err == nil && ip.Unmap().IsLoopback() || host == "localhost" {
			continue
		}
		return a
	}
	return ""
}

// create makes a credentials file with one user and returns its key.
func create(file string) (secret string, err error) {
	var random [30]byte
	_, _ = rand.Read(random[:]) // never fails
	secret = base64.RawURLEncoding.EncodeToString(random[:])
	_, _ = rand.Read(random[:])
	id := "KW" + base32.StdEncoding.EncodeToString(random[:])[:18]

	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	w := bufio.NewWriter(f)
	_, _ = fmt.Fprintf(w, firstFile, FirstUser, id, secret)
	err = errors.Join(w.Flush(), f.Sync(), f.Close())
	return secret, err
}

var firstFile = strings.TrimLeft(`
# Users of kineweir. Changes count within seconds. Keep this file private.
#
# A user signs in with its name and its password or the secret of one of its
# keys: in the console, by HTTP Basic, and by RTSP (Basic and Digest). By RTSP a
# name goes with the password, or the first key where there is none; any key goes
# with its id as the name. A secret alone is enough as "Authorization: Bearer
# SECRET".
#
# Rights: publish and view take names of streams, with * and ?; admin is the
# whole API and every stream; metrics is /metrics.
users:
  %s:
    keys:
      - id: %s
        secret: %s
    admin: true
#  front-door-camera:
#    password: eight-or-more
#    publish: [front-door]
#  family:
#    password: eight-or-more
#    view: ["*"]
#
# What whoever gives no name may do.
#anonymous:
#  view: [lobby]
`, "\n")
