package sigv4

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Sign signs a request in its Authorization header and sets X-Amz-Date: host,
// Content-Type and every header that begins with X-Amz- are signed, and body is
// what will be sent.
func Sign(r *http.Request, body []byte, accessKey, secret, region, service string, now time.Time) {
	date := now.UTC().Format(basicTime)
	r.Header.Set("X-Amz-Date", date)
	signed := []string{"host"}
	for name := range r.Header {
		lower := strings.ToLower(name)
		if lower == "content-type" || strings.HasPrefix(lower, "x-amz-") {
			signed = append(signed, lower)
		}
	}
	slices.Sort(signed)
	query, _ := readPairs(r.URL.RawQuery)
	path := normalPath(r.URL.EscapedPath())
	scope := strings.Join([]string{date[:8], region, service, terminator}, "/")
	sum := signature(canonical(r, path, query, signed, hashOf(body)), secret, date, scope)
	r.Header.Set("Authorization", algorithm+" Credential="+accessKey+"/"+scope+", SignedHeaders="+strings.Join(signed, ";")+", Signature="+sum)
}
