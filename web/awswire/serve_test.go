package awswire

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

type listOutput struct {
	Names []string `aws:"StreamNames"`
	More  bool     `aws:"HasMoreStreams"`
}

// TestOrderOfChecks has a row for each way that a request can be wrong before
// its operation is asked; a request that is wrong twice says what goes first.
func TestOrderOfChecks(t *testing.T) {
	h := mustNew(t, Service{
		Operations: []Operation{
			echo(),
			Op("ListStreams", func(context.Context, *Call, *struct{}) (*listOutput, error) { return &listOutput{}, nil }),
			Op("Nothing", func(context.Context, *Call, *struct{}) (*struct{}, error) { return &struct{}{}, nil }),
			Op("Nil", func(context.Context, *Call, *struct{}) (*listOutput, error) { return nil, nil }),
		},
		Authenticate: func(r *http.Request, _ []byte) (Caller, *Error) {
			if r.Header.Get("Authorization") == "" {
				return Caller{}, &Error{Code: "MissingAuthenticationTokenException", Message: "Missing Authentication Token"}
			}
			return Caller{}, nil
		},
		MaxBody: 1000,
	})
	const (
		denied        = "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be authorized</Message>\n</AccessDeniedException>\n"
		unknownXML    = "<UnknownOperationException/>\n"
		unknownJSON   = `{"__type":"UnknownOperationException"}`
		unreadable    = `{"__type":"SerializationException"}`
		unknownCBOR   = "\xa1\x66__type\x78\x19UnknownOperationException"
		unreadCBOR    = "\xa1\x66__type\x76SerializationException"
		unknownPlain  = `{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}`
		unreadPlain   = `{"Output":{"__type":"com.amazon.coral.service#SerializationException"},"Version":"1.0"}`
		noToken       = `{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}`
		listed        = `{"StreamNames":[],"HasMoreStreams":false}`
		listedCBOR    = "\xbf\x6bStreamNames\x80\x6eHasMoreStreams\xf4\xff"
		wrongType     = `{"__type":"SerializationException","Message":"Expected map or null"}`
		tooLarge      = `{"__type":"RequestEntityTooLargeException","message":"the body of the request is larger than this service takes"}`
		tooLargeCBOR  = "\xa2\x66__type\x78\x1eRequestEntityTooLargeException\x67message\x78\x39the body of the request is larger than this service takes"
		noOp          = ""
		noTarget      = ""
		unknownTarget = target + ".Whatever"
	)
	for _, c := range []struct {
		method, target, content, body, auth string
		status                              int
		contentType, want                   string
	}{
		{"GET", listTarget, jsonType, "", "x", 403, "", denied},
		{"PUT", listTarget, jsonType, "{}", "x", 403, "", denied},
		{"OPTIONS", listTarget, jsonType, "", "x", 403, "", denied},
		{"POST", noTarget, "", "", "", 400, cborType, unknownCBOR},
		{"POST", unknownTarget, "", "", "", 400, cborType, unknownCBOR},
		{"POST", target + ".", "", "", "", 400, cborType, unknownCBOR},
		{"POST", "Whatever.ListStreams", "", "", "", 400, cborType, unknownCBOR},
		{"POST", target + ".ListStream", "", "", "", 400, cborType, unknownCBOR},
		{"POST", listTarget, "", "", "", 400, cborType, unreadCBOR},
		{"POST", noTarget, jsonType, "", "", 400, jsonType, unknownJSON},
		{"POST", listTarget, jsonType, "", "", 400, jsonType, unreadable},
		{"POST", listTarget, plainType, "", "", 400, cborType, unreadCBOR},
		{"POST", noTarget, plainType, "", "", 400, cborType, unknownCBOR},
		{"POST", noTarget, "", "{}", "", 403, "", denied},
		{"POST", listTarget, "", "{}", "", 404, "", unknownXML},
		{"POST", listTarget, "application/x-amz-json-1.0", "{}", "x", 404, "", unknownXML},
		{"POST", listTarget, jsonType + "asdf", "{}", "x", 404, "", unknownXML},
		{"POST", listTarget, plainType, "{}", "x", 404, plainType, unknownPlain},
		{"POST", listTarget, plainType, "hello", "x", 400, plainType, unreadPlain},
		{"POST", listTarget, "     application/json     ;", "hello", "x", 400, plainType, unreadPlain},
		{"POST", listTarget, jsonType, "hello", "", 400, jsonType, unreadable},
		{"POST", listTarget, jsonType, "true", "x", 400, jsonType, unreadable},
		{"POST", unknownTarget, jsonType, "hello", "", 400, jsonType, unreadable},
		{"POST", unknownTarget, jsonType, "{}", "", 400, jsonType, unknownJSON},
		{"POST", unknownTarget, cborType, "\xa0", "", 400, cborType, unknownCBOR},
		{"POST", unknownTarget, cborType, "\xa1", "", 400, cborType, unreadCBOR},
		{"POST", putTarget, jsonType, `{"Tags":1}`, "", 400, jsonType, noToken},
		{"POST", putTarget, jsonType, `{"Tags":1}`, "x", 400, jsonType, wrongType},
		{"POST", listTarget, jsonType, "{}", "", 400, jsonType, noToken},
		{"POST", listTarget, jsonType, "{}", "x", 200, jsonType, listed},
		{"POST", listTarget, "  " + jsonType + "  ;whatever", "{}", "x", 200, jsonType, listed},
		{"POST", listTarget, cborType, "\xa0", "x", 200, cborType, listedCBOR},
		{"POST", listTarget, cborType, "\xbf\xff", "x", 200, cborType, listedCBOR},
		{"POST", target + ".Nothing", jsonType, "{}", "x", 200, jsonType, noOp},
		{"POST", target + ".Nil", jsonType, "{}", "x", 200, jsonType, noOp},
		{"POST", target + ".Nothing", cborType, "\xa0", "x", 200, cborType, noOp},
		{"POST", listTarget, jsonType, strings.Repeat(" ", 998) + "{}", "x", 200, jsonType, listed},
		{"POST", listTarget, jsonType, strings.Repeat(" ", 999) + "{}", "x", 413, jsonType, tooLarge},
		{"POST", listTarget, cborType, strings.Repeat(" ", 999) + "{}", "x", 413, cborType, tooLargeCBOR},
	} {
		for _, announced := range []bool{true, false} {
			name := fmt.Sprintf("%s %s %q %.20q %v", c.method, c.target, c.content, c.body, announced)
			var body io.Reader = strings.NewReader(c.body)
			if !announced {
				body = io.MultiReader(body)
			}
			r := httptest.NewRequest(c.method, "/whatever", body)
			r.Header.Set("X-Amz-Target", c.target)
			r.Header.Set("Content-Type", c.content)
			r.Header.Set("Authorization", c.auth)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.status || w.Body.String() != c.want || w.Header().Get("Content-Type") != c.contentType {
				t.Errorf("%s:\n got %d %s %q\nwant %d %s %q", name, w.Code, w.Header().Get("Content-Type"), w.Body, c.status, c.contentType, c.want)
			}
			checkHeaders(t, name, w)
		}
	}
}

func checkHeaders(t *testing.T, name string, w *httptest.ResponseRecorder) {
	t.Helper()
	h := w.Header()
	if id := h.Get("x-amzn-RequestId"); !regexp.MustCompile(`^[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}$`).MatchString(id) {
		t.Errorf("%s: request id %q", name, id)
	}
	if id, err := base64.StdEncoding.DecodeString(h.Get("x-amz-id-2")); err != nil || len(id) != 72 {
		t.Errorf("%s: id 2 %x %v", name, id, err)
	}
	if got, want := h.Get("Content-Length"), fmt.Sprint(w.Body.Len()); got != want {
		t.Errorf("%s: content length %s of %s", name, got, want)
	}
}

// TestErrors answers with errors of operations and tells the log of those that
// are not the caller's.
func TestErrors(t *testing.T) {
	var logged bytes.Buffer
	var observed []string
	failing := func(name string, f func() error) Operation {
		return Op(name, func(context.Context, *Call, *struct{}) (*struct{}, error) { return nil, f() })
	}
	gone := &Error{Code: "ResourceNotFoundException", Message: `Stream "a" not found.`}
	h := mustNew(t, Service{
		Operations: []Operation{
			failing("Gone", func() error { return gone }),
			failing("Wrapped", func() error { return fmt.Errorf("op: %w", gone) }),
			failing("Broken", func() error { return errors.New("disk secret") }),
			failing("Panics", func() error { panic("panic secret") }),
			failing("Full", func() error {
				return &Error{Code: internalFailure, Status: 500, Message: "try again", Cause: errors.New("disk secret")}
			}),
		},
		Log:     slog.New(slog.NewTextHandler(&logged, nil)),
		Observe: func(op, code string, took time.Duration) { observed = append(observed, op+" "+code) },
	})
	for _, c := range []struct {
		op     string
		status int
		want   string
		log    string
	}{
		{"Gone", 400, `{"__type":"ResourceNotFoundException","message":"Stream \"a\" not found."}`, ""},
		{"Wrapped", 400, `{"__type":"ResourceNotFoundException","message":"Stream \"a\" not found."}`, ""},
		{"Broken", 500, `{"__type":"InternalFailure"}`, "disk secret"},
		{"Panics", 500, `{"__type":"InternalFailure"}`, "panic secret"},
		{"Full", 500, `{"__type":"InternalFailure","message":"try again"}`, "disk secret"},
	} {
		logged.Reset()
		w := post(h, target+"."+c.op, jsonType, "{}")
		if w.Code != c.status || w.Body.String() != c.want {
			t.Errorf("%s: %d %s", c.op, w.Code, w.Body)
		}
		checkHeaders(t, c.op, w)
		log := logged.String()
		if c.log == "" && log != "" || !strings.Contains(log, c.log) || c.log != "" && !strings.Contains(log, w.Header().Get("x-amzn-RequestId")) {
			t.Errorf("%s: logged %q", c.op, log)
		}
	}
	post(h, target+".Whatever", jsonType, "{}")
	want := "Gone ResourceNotFoundException,Wrapped ResourceNotFoundException,Broken InternalFailure,Panics InternalFailure,Full InternalFailure, UnknownOperationException"
	if got := strings.Join(observed, ","); got != want {
		t.Errorf("observed %s", got)
	}
}

// TestCall shows an operation who calls.
func TestCall(t *testing.T) {
	var got *Call
	h := mustNew(t, Service{
		Account: "000000000000", Region: "eu-west-1",
		Operations: []Operation{Op("ListStreams", func(_ context.Context, c *Call, _ *struct{}) (*listOutput, error) {
			got = c
			return nil, nil
		})},
		Authenticate: func(r *http.Request, body []byte) (Caller, *Error) {
			c := Caller{AccessKey: string(body)}
			if r.Header.Get("Content-Type") == cborType {
				c.Account = "123456789012"
			}
			return c, nil
		},
	})
	w := post(h, listTarget, jsonType, `{"a":1}`)
	if got.Account != "000000000000" || got.Region != "eu-west-1" || got.CBOR || got.ID != w.Header().Get("x-amzn-RequestId") || got.Caller.AccessKey != `{"a":1}` {
		t.Errorf("%+v", got)
	}
	post(h, listTarget, cborType, "\xa0")
	if got.Account != "123456789012" || !got.CBOR || got.Request == nil {
		t.Errorf("%+v", got)
	}
}

// TestBodies sends bodies over a real connection: of unknown length, larger than
// announced buffers, trickling, cut off.
func TestBodies(t *testing.T) {
	h := mustNew(t, Service{Operations: []Operation{echo()}, Stall: 300 * time.Millisecond})
	server := httptest.NewServer(h)
	defer server.Close()
	data := strings.Repeat("AAAA", 700_000)
	body := `{"StreamName":"a","Records":[{"Data":"` + data + `","PartitionKey":"k"}]}`
	send := func(r io.Reader, length int64) (int, int, error) {
		req, err := http.NewRequest(http.MethodPost, server.URL, r)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		req.Header.Set("X-Amz-Target", putTarget)
		req.Header.Set("Content-Type", jsonType)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, 0, err
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		return resp.StatusCode, len(got), err
	}
	for _, length := range []int64{-1, int64(len(body))} {
		// 2.1 MB of data are above the limit of a record: the answer says so.
		if status, _, err := send(strings.NewReader(body), length); status != 400 || err != nil {
			t.Errorf("length %d: %d %v", length, status, err)
		}
	}
	if status, _, err := send(io.LimitReader(zeros{}, DefaultMaxBody+1), -1); err == nil && status != 413 {
		t.Errorf("too large: %d", status)
	}
	resp, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if content, ok := resp.Header["Content-Type"]; ok || resp.StatusCode != 403 {
		t.Errorf("GET: %d, content type %q guessed", resp.StatusCode, content)
	}
	reader, writer := io.Pipe()
	go func() {
		_, _ = writer.Write([]byte("{"))
		time.Sleep(2 * time.Second)
		writer.Close()
	}()
	began := time.Now()
	status, _, err := send(reader, 100)
	if took := time.Since(began); err == nil && status != http.StatusRequestTimeout || took > 1900*time.Millisecond {
		t.Errorf("trickling body: %d %v after %v", status, err, took)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
