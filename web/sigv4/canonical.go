package sigv4

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// pair is one parameter of a query, decoded.
type pair struct{ name, value string }

// readPairs decodes a query. A plus is a plus: what is form encoding to some is
// data to others, and every signer encodes both. ok is false where an escape
// cannot be read, because then two parties may read it in two ways.
func readPairs(raw string) (pairs []pair, ok bool) {
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		n, ok1 := unescape(name)
		v, ok2 := unescape(value)
		if !ok1 || !ok2 {
			return nil, false
		}
		pairs = append(pairs, pair{n, v})
	}
	return pairs, true
}

func unescape(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(n))
		i += 2
	}
	return string(b), true
}

// appendEscaped writes s with every byte escaped but the unreserved ones of
// RFC 3986 and those of keep.
func appendEscaped(b []byte, s, keep string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~', strings.IndexByte(keep, c) >= 0:
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

// canonicalQuery is the query encoded, sorted as it is encoded, without the
// signature itself.
func canonicalQuery(query []pair) []byte {
	encoded := make([]pair, 0, len(query))
	for _, p := range query {
		if p.name == querySignature {
			continue
		}
		encoded = append(encoded, pair{string(appendEscaped(nil, p.name, "")), string(appendEscaped(nil, p.value, ""))})
	}
	slices.SortFunc(encoded, func(a, b pair) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	var b []byte
	for i, p := range encoded {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(append(append(b, p.name...), '='), p.value...)
	}
	return b
}

// normalPath removes empty segments, "." and "..", as RFC 3986 does but for the
// double slashes, which the service removes too.
func normalPath(path string) string {
	var kept []string
	segments := strings.Split(path, "/")
	for _, s := range segments {
		switch s {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, s)
		}
	}
	if len(kept) == 0 {
		return "/"
	}
	p := "/" + strings.Join(kept, "/")
	if last := segments[len(segments)-1]; last == "" || last == "." || last == ".." {
		p += "/"
	}
	return p
}

// headerValues returns the values of a header in lower case. Some of them are
// taken out of the header by package http.
func headerValues(r *http.Request, name string) []string {
	switch name {
	case "host", ":authority":
		host := r.Host
		if host == "" && r.URL != nil { // a request that is being made
			host = r.URL.Host
		}
		return []string{host}
	case "transfer-encoding":
		return []string{strings.Join(r.TransferEncoding, ",")}
	case "content-length":
		if r.Header.Get(name) == "" && r.ContentLength >= 0 {
			return []string{strconv.FormatInt(r.ContentLength, 10)}
		}
	}
	return r.Header.Values(name)
}

// appendFolded writes a value of a header without spaces around it and with
// each run of spaces inside it as one.
func appendFolded(b []byte, v string) []byte {
	v = strings.Trim(v, " \t")
	space := false
	for i := range len(v) {
		if v[i] == ' ' && space {
			continue
		}
		space = v[i] == ' '
		b = append(b, v[i])
	}
	return b
}

// canonical is the canonical form of a request, whose path is given because
// signers do not agree about it.
func canonical(r *http.Request, path string, query []pair, signed []string, bodyHash string) []byte {
	b := make([]byte, 0, 1024)
	b = append(append(b, r.Method...), '\n')
	b = append(appendEscaped(b, path, "/"), '\n')
	b = append(append(b, canonicalQuery(query)...), '\n')
	for _, name := range signed {
		b = append(append(b, name...), ':')
		for i, v := range headerValues(r, name) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendFolded(b, v)
		}
		b = append(b, '\n')
	}
	b = append(append(append(b, '\n'), strings.Join(signed, ";")...), '\n')
	return append(b, bodyHash...)
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// signature signs the canonical form.
func signature(canonical []byte, secret, date, scope string) string {
	day, rest, _ := strings.Cut(scope, "/")
	region, rest, _ := strings.Cut(rest, "/")
	service, _, _ := strings.Cut(rest, "/")
	key := mac(mac(mac(mac([]byte("AWS4"+secret), day), region), service), terminator)
	var text bytes.Buffer
	for _, line := range []string{algorithm, date, scope} {
		text.WriteString(line)
		text.WriteByte('\n')
	}
	text.WriteString(hashOf(canonical))
	return hex.EncodeToString(mac(key, text.String()))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
