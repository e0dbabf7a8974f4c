package sigv4

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	basicTime  = "20060102T150405Z" // "ISO-8601 basic format"
)

// Names of the parts in a query.
const (
	queryAlgorithm  = "X-Amz-Algorithm"
	queryCredential = "X-Amz-Credential"
	queryDate       = "X-Amz-Date"
	queryExpires    = "X-Amz-Expires"
	querySigned     = "X-Amz-SignedHeaders"
	querySignature  = "X-Amz-Signature"
)

// maxExpires is how long a presigned URL may last: seven days.
const maxExpires = 7 * 24 * time.Hour

// Bounds of what is parsed. Both are far above what any signer makes and keep
// the work of a refusal small.
const (
	maxAuthorization = 16 << 10 // bytes
	maxSignedHeaders = 256
)

// claim is what a request says of its own signature.
type claim struct {
	query      bool // in the query
	algorithm  string
	credential string // keyid/date/region/service/aws4_request
	signed     []string
	signature  string
	date       string
	expires    time.Duration // of a presigned URL; 0 when it names none

	at  time.Time // date, read
	key string    // access key id
	// scope is the credential behind the key id.
	scope         string
	day           string
	region, named string // named is the service
}

// readClaim finds the parts of the signature.
func readClaim(r *http.Request, query []pair) (*claim, *Error) {
	header := r.Header.Get("Authorization")
	inQuery := slices.ContainsFunc(query, func(p pair) bool { return p.name == queryAlgorithm })
	switch {
	case header != "" && inQuery:
		return nil, refuse(CodeInvalid, "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")
	case inQuery:
		return readQuery(query)
	case header == "":
		return nil, refuse(CodeMissing, "Missing Authentication Token")
	}
	return readHeader(r, header)
}

// readHeader reads the Authorization header:
//
//	AWS4-HMAC-SHA256 Credential=..., SignedHeaders=a;b, Signature=...
func readHeader(r *http.Request, header string) (*claim, *Error) {
	if len(header) > maxAuthorization {
		return nil, refuse(CodeIncomplete, "Authorization header is longer than %d bytes.", maxAuthorization)
	}
	c := &claim{}
	var rest string
	c.algorithm, rest, _ = strings.Cut(header, " ")
	var signed string
	for part := range strings.FieldsFuncSeq(rest, func(r rune) bool { return r == ',' || r == ' ' }) {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return nil, refuse(CodeIncomplete, "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): '%s'.", hashed(part))
		}
		switch name {
		case "Credential":
			c.credential = value
		case "SignedHeaders":
			signed = value
		case "Signature":
			c.signature = value
		}
	}
	c.date = r.Header.Get("X-Amz-Date")
	if c.date == "" {
		c.date = r.Header.Get("Date")
	}
	var missing strings.Builder
	for _, p := range [...]struct{ name, value string }{{"Credential", c.credential}, {"Signature", c.signature}, {"SignedHeaders", signed}} {
		if p.value == "" {
			missing.WriteString("Authorization header requires '" + p.name + "' parameter. ")
		}
	}
	if c.date == "" {
		missing.WriteString("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
	}
	if missing.Len() > 0 {
		return nil, refuse(CodeIncomplete, "%s(Hashed with SHA-256 and encoded with Base64) Authorization=%s", missing.String(), hashed(header))
	}
	return c, c.readSigned(signed)
}

// readQuery reads the parts of a presigned URL.
func readQuery(query []pair) (*claim, *Error) {
	c := &claim{query: true}
	var signed, expires string
	for _, p := range []struct {
		name     string
		into     *string
		optional bool
	}{
		{queryAlgorithm, &c.algorithm, false},
		{queryCredential, &c.credential, false},
		{querySignature, &c.signature, false},
		{querySigned, &signed, false},
		{queryDate, &c.date, false},
		{queryExpires, &expires, true},
	} {
		for _, q := range query {
			if q.name != p.name {
				continue
			}
			if *p.into != "" { // which of them was meant is anybody's guess
				return nil, refuse(CodeIncomplete, "AWS query-string parameters must include '%s' once. Re-examine the query-string parameters.", p.name)
			}
			*p.into = q.value
		}
	}
	var missing strings.Builder
	for _, p := range [...]struct{ name, value string }{
		{queryAlgorithm, c.algorithm}, {queryCredential, c.credential}, {querySignature, c.signature}, {querySigned, signed}, {queryDate, c.date},
	} {
		if p.value == "" {
			missing.WriteString("AWS query-string parameters must include '" + p.name + "'. ")
		}
	}
	if missing.Len() > 0 {
		return nil, refuse(CodeIncomplete, "%sRe-examine the query-string parameters.", missing.String())
	}
	if err := c.readExpires(expires); err != nil {
		return nil, err
	}
	return c, c.readSigned(signed)
}

func (c *claim) readExpires(s string) *Error {
	if s == "" {
		return nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	switch {
	case err != nil:
		return refuse(CodeIncomplete, "X-Amz-Expires should be a number. Re-examine the query-string parameters.")
	case n == 0 || n > uint64(maxExpires/time.Second):
		return refuse(CodeIncomplete, "X-Amz-Expires must be between 1 and %d seconds. Re-examine the query-string parameters.", maxExpires/time.Second)
	}
	c.expires = time.Duration(n) * time.Second
	return nil
}

// readSigned reads the list of signed headers. The canonical form has it in
// lower case and sorted, however it was sent.
func (c *claim) readSigned(list string) *Error {
	c.signed = strings.Split(strings.ToLower(list), ";")
	if len(c.signed) > maxSignedHeaders {
		return refuse(CodeIncomplete, "SignedHeaders names more than %d headers.", maxSignedHeaders)
	}
	slices.Sort(c.signed)
	c.signed = slices.Compact(c.signed)
	return nil
}

// readDate reads when it was signed: X-Amz-Date in the basic format, or a Date
// header in that of HTTP.
func (c *claim) readDate() *Error {
	var err error
	c.at, err = time.Parse(basicTime, c.date)
	if err != nil && !c.query {
		c.at, err = http.ParseTime(c.date)
	}
	if err != nil {
		return refuse(CodeIncomplete, "Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", shortened(c.date))
	}
	c.at = c.at.UTC()
	return nil
}

// readScope reads the credential.
func (c *claim) readScope(o *Options) *Error {
	parts := strings.Split(strings.TrimRight(c.credential, "/"), "/")
	if len(parts) != 5 {
		return refuse(CodeIncomplete, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", shortened(c.credential))
	}
	c.key, c.day, c.region, c.named = parts[0], parts[1], parts[2], parts[3]
	c.scope = strings.Join(parts[1:], "/")
	var wrong strings.Builder
	if c.region == "" || o.Region != "" && c.region != o.Region {
		wrong.WriteString("Credential should be scoped to a valid region, not '" + shortened(c.region) + "'. ")
	}
	if c.named != o.Service {
		wrong.WriteString("Credential should be scoped to correct service: '" + o.Service + "'. ")
	}
	if parts[4] != terminator {
		wrong.WriteString("Credential should be scoped with a valid terminator: '" + terminator + "', not '" + shortened(parts[4]) + "'. ")
	}
	if day := c.at.Format("20060102"); c.day != day {
		wrong.WriteString("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '" +
			shortened(c.day) + "' != '" + day + "', from '" + c.at.Format(basicTime) + "'.")
	}
	if wrong.Len() > 0 {
		return refuse(CodeInvalid, "%s", wrong.String())
	}
	return nil
}

// shortened keeps what a client sent from filling a message.
func shortened(s string) string {
	if len(s) > 256 {
		s = s[:256] + "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
