package sigv4

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

const sampleBody = `{"StreamName":"yard"}`

// sample is a signed call of the kinesis service.
func sample() *http.Request {
	r := httptest.NewRequest("POST", "http://127.0.0.1:8080/", strings.NewReader(sampleBody))
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "Kinesis_20131202.DescribeStream")
	Sign(r, []byte(sampleBody), exampleKey, exampleSecret, "us-east-1", "kinesis", suiteTime)
	return r
}

// presigned is a call signed in its query, valid for an hour.
func presigned(change func(q map[string]string)) *http.Request {
	q := map[string]string{
		queryAlgorithm: algorithm, queryCredential: exampleKey + "/20150830/us-east-1/kinesis/aws4_request",
		queryDate: "20150830T123600Z", queryExpires: "3600", querySigned: "host", "Action": "a b+c/d",
	}
	if change != nil {
		change(q)
	}
	var b []byte
	for k, v := range q {
		if len(b) > 0 {
			b = append(b, '&')
		}
		b = append(append(append(b, k...), '='), appendEscaped(nil, v, "")...)
	}
	r := httptest.NewRequest("GET", "http://127.0.0.1:8080/?"+string(b), nil)
	pairs, _ := readPairs(r.URL.RawQuery)
	scope := q[queryCredential][strings.Index(q[queryCredential], "/")+1:]
	sum := signature(canonical(r, "/", pairs, []string{"host"}, hashOf(nil)), exampleSecret, q[queryDate], scope)
	r.URL.RawQuery += "&" + querySignature + "=" + sum
	return r
}

func TestRefusals(t *testing.T) {
	setAuth := func(from, to string) func(*http.Request) {
		return func(r *http.Request) {
			h := r.Header.Get("Authorization")
			if !strings.Contains(h, from) {
				panic(from + " is not in " + h)
			}
			r.Header.Set("Authorization", strings.Replace(h, from, to, 1))
		}
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	const notMatching = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		code   string
		text   string // begins with
	}{
		{"nothing", func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{"bearer", header("Authorization", "Bearer secret-of-a-user"), "IncompleteSignatureException", "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): '"},
		{"not even a scheme", header("Authorization", "X"), "IncompleteSignatureException", "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. (Hashed"},
		{"header and query", func(r *http.Request) { r.URL.RawQuery = "X-Amz-Algorithm=x" }, "InvalidSignatureException", "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."},
		{"no credential", setAuth("Credential=", "C="), "IncompleteSignatureException", "Authorization header requires 'Credential' parameter. (Hashed with SHA-256 and encoded with Base64) Authorization="},
		{"no signature", setAuth("Signature=", "S="), "IncompleteSignatureException", "Authorization header requires 'Signature' parameter. (Hashed"},
		{"no signed headers", setAuth("SignedHeaders=", "S="), "IncompleteSignatureException", "Authorization header requires 'SignedHeaders' parameter. (Hashed"},
		{"no date", func(r *http.Request) { r.Header.Del("X-Amz-Date") }, "IncompleteSignatureException", "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. (Hashed"},
		{"nothing but the algorithm", header("Authorization", "AWS4-HMAC-SHA256"), "IncompleteSignatureException", "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. (Hashed"},
		{"no equal-sign", setAuth("Credential=", "Credential "), "IncompleteSignatureException", "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): '"},
		{"long", setAuth("Credential=", "Credential="+strings.Repeat("x", maxAuthorization)), "IncompleteSignatureException", "Authorization header is longer than"},
		{"many headers", setAuth("SignedHeaders=", "SignedHeaders="+strings.Repeat("x;", maxSignedHeaders)), "IncompleteSignatureException", "SignedHeaders names more than"},
		{"bad date", header("X-Amz-Date", "201"), "IncompleteSignatureException", "Date must be in ISO-8601 'basic format'. Got '201'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{"late", header("X-Amz-Date", "20150830T123059Z"), "InvalidSignatureException", "Signature expired: 20150830T123059Z is now earlier than 20150830T123100Z (20150830T123600Z - 5 min.)"},
		{"early", header("X-Amz-Date", "20150830T124101Z"), "InvalidSignatureException", "Signature not yet current: 20150830T124101Z is still later than 20150830T124100Z (20150830T123600Z + 5 min.)"},
		{"just not late", header("X-Amz-Date", "20150830T123100Z"), "InvalidSignatureException", notMatching},
		{"just not early", header("X-Amz-Date", "20150830T124100Z"), "InvalidSignatureException", notMatching},
		{"host not signed", setAuth("host;", ""), "InvalidSignatureException", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{"target not signed", setAuth(";x-amz-target", ""), "InvalidSignatureException", "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization."},
		{"token not signed", header("X-Amz-Security-Token", "t"), "InvalidSignatureException", "'x-amz-security-token' must be a 'SignedHeader' in the AWS Authorization."},
		{"algorithm", setAuth("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA25"), "IncompleteSignatureException", "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA25' (only AWS4-HMAC-SHA256 for now). "},
		{"four elements", setAuth("/aws4_request", ""), "IncompleteSignatureException", "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIDEXAMPLE/20150830/us-east-1/kinesis'"},
		{"region", setAuth("us-east-1", "us-east-2"), "InvalidSignatureException", "Credential should be scoped to a valid region, not 'us-east-2'. "},
		{"service", setAuth("/kinesis/", "/firehose/"), "InvalidSignatureException", "Credential should be scoped to correct service: 'kinesis'. "},
		{"terminator", setAuth("aws4_request", "aws5_request"), "InvalidSignatureException", "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. "},
		{"day", setAuth("/20150830/", "/20150831/"), "InvalidSignatureException", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150831' != '20150830', from '20150830T123600Z'."},
		{
			"all of the scope", setAuth("/20150830/us-east-1/kinesis/aws4_request", "/b/c/d/e"), "InvalidSignatureException",
			"Credential should be scoped to a valid region, not 'c'. Credential should be scoped to correct service: 'kinesis'. " +
				"Credential should be scoped with a valid terminator: 'aws4_request', not 'e'. " +
				"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: 'b' != '20150830', from '20150830T123600Z'.",
		},
		{"unknown key", setAuth(exampleKey, "AKIDNOBODY"), "UnrecognizedClientException", "The security token included in the request is invalid."},
		{"signature", setAuth("Signature=", "Signature=0"), "InvalidSignatureException", notMatching},
		{"target", header("X-Amz-Target", "Kinesis_20131202.DeleteStream"), "InvalidSignatureException", notMatching},
		{"query", func(r *http.Request) { r.URL.RawQuery = "a=b" }, "InvalidSignatureException", notMatching},
		{"bad escape in the query", func(r *http.Request) { r.URL.RawQuery = "a=%zz" }, "InvalidSignatureException", notMatching},
		{"path", func(r *http.Request) { r.URL.Path = "/x" }, "InvalidSignatureException", notMatching},
		{"method", func(r *http.Request) { r.Method = "PUT" }, "InvalidSignatureException", notMatching},
		{"host", func(r *http.Request) { r.Host = "127.0.0.1:8081" }, "InvalidSignatureException", notMatching},
		{"unsigned payload", header("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), "InvalidSignatureException", "'x-amz-content-sha256' must be a 'SignedHeader'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := sample()
			c.change(r)
			key, err := Verify(r, []byte(sampleBody), exampleOptions("kinesis"))
			if err == nil || err.Code != c.code || !strings.HasPrefix(err.Message, c.text) || err.Status != 400 || key != "" {
				t.Errorf("got %q %v\nwant %s: %s", key, err, c.code, c.text)
			}
			if err != nil && strings.Contains(err.Message, "secret-of") {
				t.Error("the message shows a secret")
			}
		})
	}
}

func TestQueryRefusals(t *testing.T) {
	drop := func(name string) func(map[string]string) {
		return func(q map[string]string) { delete(q, name) }
	}
	set := func(name, value string) func(map[string]string) {
		return func(q map[string]string) { q[name] = value }
	}
	const reexamine = "Re-examine the query-string parameters."
	for _, c := range []struct {
		name   string
		change func(map[string]string)
		code   string
		text   string
	}{
		{"good", nil, "", ""},
		{"a week", set(queryExpires, "604800"), "", ""},
		{"without an end", drop(queryExpires), "", ""},
		{"no signed headers", drop(querySigned), "IncompleteSignatureException", "AWS query-string parameters must include 'X-Amz-SignedHeaders'. " + reexamine},
		{"no date", set(queryDate, ""), "IncompleteSignatureException", "AWS query-string parameters must include 'X-Amz-Date'. " + reexamine},
		{"more than a week", set(queryExpires, "604801"), "IncompleteSignatureException", "X-Amz-Expires must be between 1 and 604800 seconds. " + reexamine},
		{"at once", set(queryExpires, "0"), "IncompleteSignatureException", "X-Amz-Expires must be between"},
		{"negative", set(queryExpires, "-1"), "IncompleteSignatureException", "X-Amz-Expires should be a number."},
		{"HTTP date", set(queryDate, "Sun, 30 Aug 2015 12:36:00 GMT"), "IncompleteSignatureException", "Date must be in ISO-8601"},
		{"over", set(queryDate, "20150830T113559Z"), "InvalidSignatureException", "Signature expired: 20150830T113559Z is now earlier than 20150830T113600Z (20150830T123600Z - 60 min.)"},
		{"just not over", set(queryDate, "20150830T113600Z"), "", ""},
		{"over in seconds", func(q map[string]string) { q[queryExpires], q[queryDate] = "90", "20150830T123429Z" }, "InvalidSignatureException", "Signature expired: 20150830T123429Z is now earlier than 20150830T123430Z (20150830T123600Z - 90 sec.)"},
		{"not yet", set(queryDate, "20150830T124101Z"), "InvalidSignatureException", "Signature not yet current: "},
		{"headers not signed", set(querySigned, "date"), "InvalidSignatureException", "'Host' or ':authority' must be"},
		{"unknown key", set(queryCredential, "NOBODY/20150830/us-east-1/kinesis/aws4_request"), "UnrecognizedClientException", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Verify(presigned(c.change), nil, exampleOptions("kinesis"))
			code, text := "", ""
			if err != nil {
				code, text = err.Code, err.Message
			}
			if code != c.code || !strings.HasPrefix(text, c.text) {
				t.Errorf("got %v\nwant %s: %s", err, c.code, c.text)
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		r := presigned(nil)
		r.URL.RawQuery += "&X-Amz-Expires=7"
		if _, err := Verify(r, nil, exampleOptions("kinesis")); err == nil || err.Code != CodeIncomplete {
			t.Errorf("got %v", err)
		}
	})
	t.Run("target not signed", func(t *testing.T) {
		r := presigned(nil)
		r.Header.Set("X-Amz-Target", "Kinesis_20131202.DeleteStream")
		if _, err := Verify(r, nil, exampleOptions("kinesis")); err == nil || !strings.HasPrefix(err.Message, "'x-amz-target' must be") {
			t.Errorf("got %v", err)
		}
	})
}

// TestDateHeader signs with the Date of HTTP, whose canonical form is that of
// X-Amz-Date.
func TestDateHeader(t *testing.T) {
	r := sample()
	r.Header.Del("X-Amz-Date")
	r.Header.Set("Date", suiteTime.Format(http.TimeFormat))
	signed := []string{"date", "host", "x-amz-target"}
	scope := "20150830/us-east-1/kinesis/aws4_request"
	sum := signature(canonical(r, "/", nil, signed, hashOf([]byte(sampleBody))), exampleSecret, "20150830T123600Z", scope)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+exampleKey+"/"+scope+",SignedHeaders="+strings.Join(signed, ";")+",Signature="+sum)
	if _, err := Verify(r, []byte(sampleBody), exampleOptions("kinesis")); err != nil {
		t.Error(err)
	}
}

// TestOrderOfSignedHeaders: the list counts as a set.
func TestOrderOfSignedHeaders(t *testing.T) {
	r := sample()
	const sorted, sent = "content-type;host;x-amz-date;x-amz-target", "X-Amz-Target;host;x-amz-date;content-type"
	h := r.Header.Get("Authorization")
	if !strings.Contains(h, sorted) {
		t.Fatal(h)
	}
	r.Header.Set("Authorization", strings.Replace(h, sorted, sent, 1))
	if _, err := Verify(r, []byte(sampleBody), exampleOptions("kinesis")); err != nil {
		t.Error(err)
	}
}

func TestAnyRegion(t *testing.T) {
	o := exampleOptions("kinesis")
	o.Region = ""
	r := sample()
	Sign(r, []byte(sampleBody), exampleKey, exampleSecret, "mars-north-1", "kinesis", suiteTime)
	if _, err := Verify(r, []byte(sampleBody), o); err != nil {
		t.Error(err)
	}
	Sign(r, []byte(sampleBody), exampleKey, exampleSecret, "", "kinesis", suiteTime)
	if _, err := Verify(r, []byte(sampleBody), o); err == nil {
		t.Error("an empty region is taken")
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		b.Run(strconv.Itoa(size>>10)+"KiB", func(b *testing.B) {
			body := make([]byte, size)
			r := sample()
			Sign(r, body, exampleKey, exampleSecret, "us-east-1", "kinesis", suiteTime)
			o := exampleOptions("kinesis")
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := Verify(r, body, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
