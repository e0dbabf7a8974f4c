package minio

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	s3 "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/kineweir/kineweir/archive/bucket"
)

// Options says where the bucket is and how to reach it.
type Options struct {
	// Endpoint is "host:port" or "host"; "http://…" or "https://…" set Secure as well.
	Endpoint string
	// Bucket is the bucket's name: 3 to 63 lower-case letters, digits, dots and hyphens.
	Bucket string
	// Prefix goes before every key, as a folder: "" is the whole bucket. It is a valid key without its last slash
	// and at most 100 bytes.
	Prefix string
	// AccessKey and SecretKey sign the requests; SessionToken too, where they are temporary.
	AccessKey, SecretKey, SessionToken string
	// Region is the bucket's region; "" asks the server.
	Region string
	// Secure uses TLS, with the system's certificate authorities or those of RootCAs.
	Secure  bool
	RootCAs *x509.CertPool
	// PathStyle puts the bucket in the path of every request. Otherwise that is so for all but the endpoints of
	// Amazon, Google and Aliyun, whose host names carry it.
	PathStyle bool
	// CreateBucket makes the bucket when it is missing at first use.
	CreateBucket bool

	// PartSize is the size of the parts in which larger objects go, in bytes: 5 MiB (the least S3 takes) to
	// 5 GiB; default 32 MiB. It grows for objects that would need more than 10,000 parts.
	PartSize int64
	// Parallel is how many parts of an object are sent at once; default 3.
	Parallel int
	// Attempts is how often a request is tried in all before a passing error is returned; default 4.
	Attempts int
	// Backoff is the pause before the second attempt; it doubles up to 5 s. Default 200 ms.
	Backoff time.Duration
	// Dial bounds the making of a connection; default 5 s.
	Dial time.Duration
	// Stall is how long no byte may move on a connection in use; default 20 s.
	Stall time.Duration
}

const (
	minPartSize = 5 << 20
	maxPartSize = 5 << 30
	maxParts    = 10_000
	maxPrefix   = 100
	maxBackoff  = 5 * time.Second
)

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	_, err := o.complete()
	return err
}

// complete checks the options and fills in the defaults.
func (o Options) complete() (Options, error) {
	if rest, ok := strings.CutPrefix(o.Endpoint, "https://"); ok {
		o.Endpoint, o.Secure = rest, true
	} else if rest, ok := strings.CutPrefix(o.Endpoint, "http://"); ok {
		o.Endpoint, o.Secure = rest, false
	}
	o.Endpoint = strings.TrimSuffix(o.Endpoint, "/")
	if o.Prefix = strings.TrimSuffix(o.Prefix, "/"); o.Prefix != "" {
		if err := bucket.ValidKey(o.Prefix); err != nil {
			return o, fmt.Errorf("object store prefix: %w", err)
		}
		if len(o.Prefix) >= maxPrefix {
			return o, fmt.Errorf("object store prefix %q must be under %d bytes", o.Prefix, maxPrefix)
		}
		o.Prefix += "/"
	}
	o.PartSize = defaulted(o.PartSize, 32<<20)
	o.Parallel = defaulted(o.Parallel, 3)
	o.Attempts = defaulted(o.Attempts, 4)
	o.Backoff = defaulted(o.Backoff, 200*time.Millisecond)
	o.Dial = defaulted(o.Dial, 5*time.Second)
	o.Stall = defaulted(o.Stall, 20*time.Second)
	switch {
	case o.Endpoint == "":
		return o, errors.New("object store endpoint is missing: give host:port")
	case strings.Contains(o.Endpoint, "/"):
		return o, fmt.Errorf("object store endpoint %q has a path: give host:port alone, and the bucket by itself", o.Endpoint)
	case o.AccessKey == "" || o.SecretKey == "":
		return o, errors.New("object store access key or secret key is missing")
	case o.PartSize < minPartSize || o.PartSize > maxPartSize:
		return o, fmt.Errorf("object store part size %d is not between %d and %d", o.PartSize, minPartSize, maxPartSize)
	case o.Parallel < 0 || o.Attempts < 0 || o.Backoff < 0 || o.Dial < 0 || o.Stall < 0:
		return o, errors.New("object store limits must not be negative")
	}
	if err := s3utils.CheckValidBucketNameStrict(o.Bucket); err != nil {
		return o, fmt.Errorf("object store bucket %q: %w", o.Bucket, err)
	}
	return o, nil
}

func defaulted[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (o Options) client(transport http.RoundTripper) *s3.Options {
	lookup := s3.BucketLookupAuto
	if o.PathStyle {
		lookup = s3.BucketLookupPath
	}
	return &s3.Options{
		Creds:        credentials.NewStaticV4(o.AccessKey, o.SecretKey, o.SessionToken),
		Secure:       o.Secure,
		Transport:    transport,
		Region:       o.Region,
		BucketLookup: lookup,
		// Whether to try again is decided here, once (retry.go).
		MaxRetries: 1,
	}
}

// newTransport makes the store's own pool of connections. HTTP/1.1 alone: over HTTP/2 one stalled connection
// would carry all requests.
func newTransport(o Options) *http.Transport {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           stallingDialer(o.Dial, o.Stall),
		TLSHandshakeTimeout:   o.Dial,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       o.Stall / 2, // before the stall limit would cut an idle connection
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true, // a body is what was put, never unpacked
		TLSNextProto:          map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	if o.Secure {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs}
	}
	return t
}
