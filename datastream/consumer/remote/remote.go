// Package remote lets a consumer run anywhere: a [consumer.Source] that reads a
// stream through the Kinesis API (AWS JSON 1.1 over HTTP), and a
// [consumer.Leases] that keeps leases with a Kineweir server (/api/leases).
//
// It owns these two clients' words on the wire. It signs nothing, follows no
// credentials and repeats no call: a request is handed to Sign as it will be
// sent, and package consumer decides what is tried again. It is a client alone
// and serves nobody.
package remote

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/kineweir/kineweir/datastream"
)

// Client is what both clients need to know of a server.
type Client struct {
	// Endpoint is the server's URL, such as http://127.0.0.1:8080.
	Endpoint string
	// HTTP sends the requests; default a client that gives up after 30 s. One
	// who reads many shards gives one whose transport keeps as many idle
	// connections per host: the standard one keeps two.
	HTTP *http.Client
	// Sign adds what proves who asks, such as a signature (SigV4 of service
	// kinesis) or an Authorization header. Nil = nothing.
	Sign func(r *http.Request, body []byte) error
}

// Bounds on what is read of an answer. The service's largest is 10 MiB of
// records, in base64 and with their keys.
const (
	maxAnswer = 64 << 20
	timeout   = 30 * time.Second
)

// Error is an answer other than the one asked for.
type Error struct {
	Status  int    // of HTTP
	Code    string // such as ExpiredIteratorException; "" when the answer had none
	Message string
	Kind    error // for errors.Is: one of datastream's Err values, or nil
}

// Error gives code and message.
func (e *Error) Error() string {
	return strings.TrimSpace(fmt.Sprintf("status %d %s: %s", e.Status, e.Code, e.Message))
}

// Unwrap gives the kind.
func (e *Error) Unwrap() error { return e.Kind }

// answer is what a server said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request and reads the whole answer.
func (c *Client) do(ctx context.Context, method, path string, header http.Header, body []byte) (*answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Endpoint, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if c.Sign != nil {
		if err := c.Sign(r, body); err != nil {
			return nil, fmt.Errorf("sign request: %w", err)
		}
	}
	client := c.HTTP
	if client == nil {
		client = &http.Client{Timeout: timeout} // on the transport that all share
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("the answer is larger than %d bytes: %w", maxAnswer, datastream.ErrUnavailable)
	}
	return &answer{resp.StatusCode, resp.Header, data}, nil
}
