package sigv4

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const alphabet = "abcXYZ019-._~ /%+&=?#:;,@!$'()*\"\\\u00e9\u1234"

func randomText(rnd *rand.Rand, n int, letters string) string {
	runes := []rune(letters)
	var b strings.Builder
	for range rnd.IntN(n + 1) {
		b.WriteRune(runes[rnd.IntN(len(runes))])
	}
	return b.String()
}

// randomRequest makes a request as a client would, with its body.
func randomRequest(t *testing.T, rnd *rand.Rand) (*http.Request, []byte) {
	body := []byte(randomText(rnd, 200, alphabet))
	r, err := http.NewRequest([]string{"POST", "GET", "PUT"}[rnd.IntN(3)], "http://example.test", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = []string{"127.0.0.1:8080", "kinesis.us-east-1.amazonaws.com", "[::1]:4567"}[rnd.IntN(3)]
	r.URL.Path = "/"
	for range rnd.IntN(4) {
		r.URL.Path += randomText(rnd, 6, alphabet) + []string{"/", "//", "/./", "/../"}[rnd.IntN(4)]
	}
	q := r.URL.Query()
	for range rnd.IntN(4) {
		q.Add("q"+randomText(rnd, 5, alphabet), randomText(rnd, 10, alphabet))
	}
	r.URL.RawQuery = q.Encode()
	for range rnd.IntN(4) {
		r.Header.Add("X-H"+strconv.Itoa(rnd.IntN(3)), randomText(rnd, 12, "ab  c,;=\""))
	}
	if rnd.IntN(2) == 0 {
		r.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecords")
	}
	return r, body
}

// overWire is the request as a server gets it.
func overWire(t *testing.T, r *http.Request, body []byte) *http.Request {
	r = r.Clone(context.Background())
	r.Body = io.NopCloser(bytes.NewReader(body))
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&b))
	if err != nil {
		t.Fatalf("%v\n%s", err, b.Bytes())
	}
	return got
}

// TestSDK verifies what the signer of the AWS SDK for Go signs, in headers and
// in queries, after a way over the wire, and sees every change refused.
func TestSDK(t *testing.T) {
	const rounds = 2000
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 1))
	signer := v4.NewSigner()
	changes := 0
	for i := range rounds {
		r, body := randomRequest(t, rnd)
		cred := aws.Credentials{AccessKeyID: exampleKey, SecretAccessKey: exampleSecret}
		if rnd.IntN(4) == 0 {
			cred.SessionToken = "token" + randomText(rnd, 20, "abc+/=")
		}
		inQuery := rnd.IntN(3) == 0
		if inQuery {
			q := r.URL.Query()
			q.Set("X-Amz-Expires", "60")
			r.URL.RawQuery = q.Encode()
			uri, header, err := signer.PresignHTTP(t.Context(), cred, r, hashOf(body), "kinesis", "us-east-1", suiteTime)
			if err != nil {
				t.Fatal(err)
			}
			r2, err := http.NewRequest(r.Method, uri, nil)
			if err != nil {
				t.Fatal(err)
			}
			r2.Header, r2.Host, r2.ContentLength = header, header.Get("Host"), r.ContentLength
			r = r2
		} else if err := signer.SignHTTP(t.Context(), cred, r, hashOf(body), "kinesis", "us-east-1", suiteTime); err != nil {
			t.Fatal(err)
		}
		server := overWire(t, r, body)
		describe := func() string {
			return fmt.Sprintf("seed %d round %d: %s %s %v", seed, i, server.Method, server.RequestURI, server.Header)
		}
		if key, err := Verify(server, body, exampleOptions("kinesis")); err != nil || key != exampleKey {
			t.Fatalf("%s\nVerify = %q, %v", describe(), key, err)
		}
		for what, changed := range changesOf(rnd, server, body, inQuery) {
			if _, err := Verify(changed.r, changed.body, exampleOptions("kinesis")); err == nil {
				t.Fatalf("%s\nchanging the %s goes unseen", describe(), what)
			}
			changes++
		}
	}
	t.Logf("%d requests, %d changes, seed %d", rounds, changes, seed)
}

type changedRequest struct {
	r    *http.Request
	body []byte
}

// changesOf flips one thing at a time of a signed request.
func changesOf(rnd *rand.Rand, r *http.Request, body []byte, inQuery bool) map[string]changedRequest {
	list := map[string]changedRequest{}
	change := func(what string, f func(c *http.Request)) {
		c := r.Clone(context.Background())
		f(c)
		list[what] = changedRequest{c, body}
	}
	if len(body) > 0 {
		b := bytes.Clone(body)
		b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
		list["body"] = changedRequest{r, b}
	}
	list["length of the body"] = changedRequest{r, append(bytes.Clone(body), 0)}
	change("method", func(c *http.Request) { c.Method = "DELETE" })
	change("host", func(c *http.Request) { c.Host += "x" })
	change("path", func(c *http.Request) { c.URL.Path, c.URL.RawPath = c.URL.Path+"x", "" })
	change("query", func(c *http.Request) { c.URL.RawQuery += "&x=" })
	signed := r.Header.Get("Authorization")
	if inQuery {
		signed, _ = unescape(r.URL.RawQuery)
	}
	for name, values := range r.Header {
		if strings.Contains(signed, strings.ToLower(name)) || name == "X-Amz-Date" {
			change("header "+name, func(c *http.Request) { c.Header[name] = append([]string{values[0] + "x"}, values[1:]...) })
			change("absence of header "+name, func(c *http.Request) { c.Header[name] = []string{"gone"} })
		}
	}
	change("signature", func(c *http.Request) {
		flip := func(s string) string {
			i := strings.Index(s, "Signature=") + len("Signature=")
			b := []byte(s)
			raw, _ := hex.DecodeString(s[i : i+64])
			raw[rnd.IntN(32)] ^= 1 << rnd.IntN(8)
			hex.Encode(b[i:], raw)
			return string(b)
		}
		if inQuery {
			c.URL.RawQuery = flip(c.URL.RawQuery)
		} else {
			c.Header.Set("Authorization", flip(signed))
		}
	})
	change("key", func(c *http.Request) {
		c.URL.RawQuery = strings.Replace(c.URL.RawQuery, exampleKey, "AKIDOTHER", 1)
		c.Header.Set("Authorization", strings.Replace(c.Header.Get("Authorization"), exampleKey, "AKIDOTHER", 1))
	})
	change("time", func(c *http.Request) {
		c.URL.RawQuery = strings.Replace(c.URL.RawQuery, "20150830T123600Z", "20150830T123601Z", 1)
		c.Header.Set("X-Amz-Date", "20150830T123601Z")
	})
	return list
}

// FuzzVerify sees that nothing a client sends makes Verify panic, or accepts
// what was not signed.
func FuzzVerify(f *testing.F) {
	good := sample().Header.Get("Authorization")
	f.Add(good, "", "20150830T123600Z", sampleBody)
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/e,,Signature=,SignedHeaders=;", "a=%", "x", "")
	f.Add("", strings.TrimPrefix(presigned(nil).URL.RawQuery, "?"), "", "")
	f.Add("", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=99999999999999999999", "", "")
	f.Fuzz(func(t *testing.T, authorization, query, date, body string) {
		r := sample()
		r.Header.Set("Authorization", authorization)
		r.Header.Set("X-Amz-Date", date)
		r.URL.RawQuery = query
		o := exampleOptions("kinesis")
		var asked bool
		o.Secret = func(key string) (string, bool) { asked = true; return exampleSecret, key == exampleKey }
		key, err := Verify(r, []byte(body), o)
		if (err == nil) != (key != "") {
			t.Fatalf("key %q, error %v", key, err)
		}
		if err == nil && (!asked || !strings.Contains(authorization+query, exampleKey)) {
			t.Fatalf("accepted %q %q without a key", authorization, query)
		}
		if err != nil && len(err.Message) > 4096 {
			t.Fatalf("a message of %d bytes", len(err.Message))
		}
	})
}
