package sigv4

import (
	"crypto/hmac"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// DefaultSkew is how far the clock of a signer may be from ours, either way:
// what the service allows, as its own messages say ("- 5 min.").
const DefaultSkew = 5 * time.Minute

// Options say what a signature must be for.
type Options struct {
	// Service is the name in the scope, such as "kinesis".
	Service string
	// Region is the region in the scope; "" takes any.
	Region string
	// Secret returns the secret of an access key id.
	Secret func(accessKey string) (secret string, ok bool)
	// Now is the clock; default time.Now.
	Now func() time.Time
	// MaxSkew is how far from Now a request may have been signed; default
	// DefaultSkew.
	MaxSkew time.Duration
}

// Verify checks the signature of a request whose body has been read, and
// returns the access key id that signed it. The checks come in the order in
// which the service makes them.
func Verify(r *http.Request, body []byte, o Options) (accessKey string, err *Error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxSkew == 0 {
		o.MaxSkew = DefaultSkew
	}
	query, readable := readPairs(r.URL.RawQuery)
	c, err := readClaim(r, query)
	if err != nil {
		return "", err
	}
	if err := c.check(r, &o); err != nil {
		return "", err
	}
	secret, ok := o.Secret(c.key)
	if !ok {
		return "", refuse(CodeUnknownKey, "The security token included in the request is invalid.")
	}
	if !readable || !c.proved(r, query, hashOf(body), secret) {
		return "", mismatch()
	}
	return c.key, nil
}

// check checks everything that needs no secret.
func (c *claim) check(r *http.Request, o *Options) *Error {
	if err := c.readDate(); err != nil {
		return err
	}
	if err := c.checkTime(o); err != nil {
		return err
	}
	if err := c.checkSigned(r); err != nil {
		return err
	}
	if c.algorithm != algorithm {
		return refuse(CodeIncomplete, "Unsupported AWS 'algorithm': '%s' (only %s for now). ", shortened(c.algorithm), algorithm)
	}
	return c.readScope(o)
}

// checkTime refuses what was signed too long ago, or is yet to be. A presigned
// URL lasts as long as it says, and not a skew longer.
func (c *claim) checkTime(o *Options) *Error {
	now := o.Now().UTC().Truncate(time.Second)
	life := o.MaxSkew
	if c.expires > 0 {
		life = c.expires
	}
	if oldest := now.Add(-life); c.at.Before(oldest) {
		return refuse(CodeInvalid, "Signature expired: %s is now earlier than %s (%s - %s.)",
			c.at.Format(basicTime), oldest.Format(basicTime), now.Format(basicTime), spell(life))
	}
	if newest := now.Add(o.MaxSkew); c.at.After(newest) {
		return refuse(CodeInvalid, "Signature not yet current: %s is still later than %s (%s + %s.)",
			c.at.Format(basicTime), newest.Format(basicTime), now.Format(basicTime), spell(o.MaxSkew))
	}
	return nil
}

func spell(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d sec", d/time.Second)
}

// checkSigned refuses a signature that leaves out what decides what is done.
// The date needs no place in it: it is signed by itself.
func (c *claim) checkSigned(r *http.Request) *Error {
	if !slices.Contains(c.signed, "host") && !slices.Contains(c.signed, ":authority") {
		return notSigned("'Host' or ':authority'")
	}
	for name := range r.Header {
		lower := strings.ToLower(name)
		if !strings.HasPrefix(lower, "x-amz-") || lower == "x-amz-date" && !c.query || lower == "x-amz-cf-id" { // the last is added by a proxy on the way
			continue
		}
		if !slices.Contains(c.signed, lower) {
			return notSigned("'" + lower + "'")
		}
	}
	return nil
}

// proved reports whether the signature is the one that the secret makes. Some
// signers normalise the path and some do not; both bind it.
func (c *claim) proved(r *http.Request, query []pair, bodyHash, secret string) bool {
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	paths := []string{normalPath(path)}
	if paths[0] != path {
		paths = append(paths, path)
	}
	for _, p := range paths {
		want := signature(canonical(r, p, query, c.signed, bodyHash), secret, c.at.Format(basicTime), c.scope)
		if hmac.Equal([]byte(want), []byte(c.signature)) {
			return true
		}
	}
	return false
}
