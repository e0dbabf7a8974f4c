package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// keyVariable is the environment variable with the key of the commands that ask
// a running server. It is no key of the config file.
const keyVariable = envPrefix + "KEY"

// regionVariable is that of the key aws.region, which signatures must name.
const regionVariable = envPrefix + "AWS_REGION"

// remote is a running server, as the flags of a command name it.
type remote struct{ server, key, region string }

func declareRemote(fs *flag.FlagSet) *remote {
	r := &remote{}
	fs.StringVar(&r.server, "server", "http://127.0.0.1:8080", "ask the server at `URL`\n(default http://127.0.0.1:8080)")
	fs.StringVar(&r.key, "key", "", "prove who you are with `KEY`: a secret key, or ID:SECRET\n(default: the variable "+keyVariable+", where ps does not show it)")
	return r
}

// check completes the flags from the environment.
func (r *remote) check(environ []string) error {
	for _, pair := range environ {
		if value, ok := strings.CutPrefix(pair, keyVariable+"="); ok && r.key == "" {
			r.key = value
		}
		if value, ok := strings.CutPrefix(pair, regionVariable+"="); ok {
			r.region = value
		}
	}
	r.region = cmp.Or(r.region, defaultConfig().AWS.Region)
	u, err := url.Parse(r.server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return &usageError{what: fmt.Sprintf("--server %q is no URL of a server", r.server), hint: "write it as http://127.0.0.1:8080"}
	}
	return nil
}

// prove adds the key to a request.
func (r *remote) prove(h http.Header) {
	switch {
	case r.key == "":
	case strings.Contains(r.key, ":"):
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(r.key)))
	default:
		h.Set("Authorization", "Bearer "+r.key)
	}
}

// dial opens the WebSocket of a stream, which ends with ctx.
func (r *remote) dial(ctx context.Context, stream string, query url.Values) (*websocket.Conn, error) {
	u, err := url.Parse(r.server)
	if err != nil {
		return nil, err
	}
	u = u.JoinPath("ws", "streams", url.PathEscape(stream))
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	u.RawQuery = query.Encode()
	header := http.Header{}
	r.prove(header)
	d := websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: 15 * time.Second}
	ws, answer, err := d.DialContext(ctx, u.String(), header)
	switch {
	case err == nil:
		return ws, nil
	case answer == nil:
		return nil, r.unreached(err)
	}
	return nil, r.refused(answer)
}

// unreached says why a request got no answer, and what to do.
func (r *remote) unreached(err error) error {
	var untrusted *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &untrusted):
		return &remoteError{text: fmt.Sprintf("the certificate of %s is not trusted: %v; a server that made its own keeps it in its data folder: set SSL_CERT_FILE to a copy of tls-cert.pem there", r.server, untrusted.Err)}
	case errors.As(err, &plain), errors.Is(err, http.ErrSchemeMismatch):
		return &remoteError{text: fmt.Sprintf("what answers at %s does not speak HTTPS; write --server http://...", r.server)}
	}
	return &remoteError{text: fmt.Sprintf("no server answers at %s: %v; start one with \"kineweir serve\", or name another with --server", r.server, err), retry: true}
}

// wantsTLS is what net/http answers to a request without TLS where it wants it.
const wantsTLS = "Client sent an HTTP request to an HTTPS server."

// refused makes an error of an HTTP answer.
func (r *remote) refused(answer *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	answer.Body.Close()
	if strings.TrimSpace(string(body)) == wantsTLS {
		return &remoteError{text: fmt.Sprintf("the server at %s speaks HTTPS; write --server https://...", r.server)}
	}
	var told struct {
		Error told `json:"error"`
	}
	if err := json.Unmarshal(body, &told); err != nil || told.Error.Code == "" {
		told.Error.Message = fmt.Sprintf("what answers at %s is no kineweir that has record streams (HTTP status %d)", r.server, answer.StatusCode)
		told.Error.Hint = "name the server with --server"
	}
	if answer.StatusCode == http.StatusUnauthorized {
		told.Error.Hint = "give a key with --key or in " + keyVariable
	}
	return &remoteError{
		text: told.Error.String(), status: answer.StatusCode,
		retry: answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusRequestTimeout,
	}
}

// told is an error as the server tells it.
type told struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

func (t *told) String() string {
	if t.Hint == "" {
		return t.Message
	}
	return t.Message + "; " + t.Hint
}

// remoteError is why a server does not do what was asked.
type remoteError struct {
	text   string
	status int  // of the HTTP answer; 0 for none
	retry  bool // it may do it later
}

func (e *remoteError) Error() string { return e.text }

// heard is a message of the server.
type heard struct {
	Hello   *struct{}       `json:"hello"`
	Records []heardRecord   `json:"records"`
	Resume  string          `json:"resume"`
	Closed  json.RawMessage `json:"closed"`
	Ack     *heardAck       `json:"ack"`
	Error   *told           `json:"error"`
}

type heardRecord struct {
	Shard    string          `json:"shard"`
	Sequence string          `json:"sequence"`
	Key      string          `json:"key"`
	Arrived  string          `json:"arrived"`
	JSON     json.RawMessage `json:"json,omitempty"`
	Text     *string         `json:"text,omitempty"`
	Data     *[]byte         `json:"data,omitempty"`
}

type heardAck struct {
	Error   *told `json:"error"`
	Records []struct {
		Shard    string `json:"shard"`
		Sequence string `json:"sequence"`
		Error    *told  `json:"error"`
	} `json:"records"`
}

// silence is how long the server may say nothing: it pings every 20 seconds.
const silence = 70 * time.Second

// line is an open WebSocket.
type line struct {
	ws     *websocket.Conn
	binary [][]byte // that came before the last message
	told   *told    // the last error
}

func newLine(ws *websocket.Conn) *line {
	ws.SetReadLimit(64 << 20)
	alive := func() { _ = ws.SetReadDeadline(time.Now().Add(silence)) }
	alive()
	answer := ws.PingHandler()
	ws.SetPingHandler(func(content string) error {
		alive()
		return answer(content)
	})
	return &line{ws: ws}
}

// next returns the next message that is no error, or why there is none: io.EOF
// when there is no more.
func (l *line) next() (*heard, error) {
	l.binary = nil
	for {
		kind, b, err := l.ws.ReadMessage()
		if err != nil {
			return nil, l.ended(err)
		}
		_ = l.ws.SetReadDeadline(time.Now().Add(silence))
		if kind == websocket.BinaryMessage {
			l.binary = append(l.binary, b)
			continue
		}
		var m heard
		if err := json.Unmarshal(b, &m); err != nil {
			return nil, &remoteError{text: fmt.Sprintf("the server says what is not understood: %v", err)}
		}
		if m.Error == nil {
			return &m, nil
		}
		l.told = m.Error
	}
}

// ended words the end of a connection.
func (l *line) ended(err error) error {
	var closed *websocket.CloseError
	if !errors.As(err, &closed) {
		return &remoteError{text: "the connection was lost: " + err.Error(), retry: true}
	}
	switch {
	case closed.Code == websocket.CloseNormalClosure && l.told == nil:
		return io.EOF
	case l.told == nil:
		return &remoteError{text: fmt.Sprintf("the server ended the connection: %s", closed.Text), retry: closed.Code != websocket.CloseMessageTooBig}
	}
	// 4000 and the status of HTTP; slow readers (408) and the trouble of the
	// server (5xx) pass.
	return &remoteError{text: l.told.String(), retry: closed.Code == 4408 || closed.Code == 4429 || closed.Code >= 4500}
}
