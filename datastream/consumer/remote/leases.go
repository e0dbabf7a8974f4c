package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/kineweir/kineweir/datastream/consumer"
)

// Leases keeps leases with a Kineweir server.
type Leases struct{ client *Client }

// Leases returns the store of the server.
func (c *Client) Leases() *Leases { return &Leases{c} }

var _ consumer.Leases = (*Leases)(nil)

func pathOf(words ...string) string {
	path := "/api/leases"
	for _, w := range words {
		path += "/" + url.PathEscape(w)
	}
	return path
}

// List returns what the application keeps.
func (l *Leases) List(ctx context.Context, app string) ([]consumer.Item, error) {
	a, err := l.client.do(ctx, http.MethodGet, pathOf(app), nil, nil)
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, apiError(a)
	}
	var body struct {
		Leases []struct {
			Key      string          `json:"key"`
			Revision uint64          `json:"revision,string"`
			Value    json.RawMessage `json:"value"`
		} `json:"leases"`
	}
	if err := json.Unmarshal(a.body, &body); err != nil {
		return nil, fmt.Errorf("list of leases: %w", err)
	}
	list := make([]consumer.Item, len(body.Leases))
	for i, b := range body.Leases {
		list[i] = consumer.Item{Key: b.Key, Value: b.Value, Revision: b.Revision}
	}
	return list, nil
}

// Get returns one entry, or consumer.ErrAbsent.
func (l *Leases) Get(ctx context.Context, app, key string) (consumer.Item, error) {
	a, err := l.client.do(ctx, http.MethodGet, pathOf(app, key), nil, nil)
	switch {
	case err != nil:
		return consumer.Item{}, err
	case a.status == http.StatusNotFound:
		return consumer.Item{}, fmt.Errorf("%w: %w", consumer.ErrAbsent, apiError(a))
	case a.status != http.StatusOK:
		return consumer.Item{}, apiError(a)
	}
	revision, err := revisionOf(a)
	return consumer.Item{Key: key, Value: a.body, Revision: revision}, err
}

// Put sets a value, which is JSON, if the revision is as expected.
func (l *Leases) Put(ctx context.Context, app, key string, value []byte, expect uint64) (uint64, error) {
	h := condition(expect)
	h.Set("Content-Type", "application/json")
	a, err := l.client.do(ctx, http.MethodPut, pathOf(app, key), h, value)
	if err != nil {
		return 0, err
	}
	if err := changed(a); err != nil {
		return 0, err
	}
	return revisionOf(a)
}

// Delete removes a key if the revision is as expected.
func (l *Leases) Delete(ctx context.Context, app, key string, expect uint64) error {
	a, err := l.client.do(ctx, http.MethodDelete, pathOf(app, key), condition(expect), nil)
	if err != nil {
		return err
	}
	return changed(a)
}

func condition(expect uint64) http.Header {
	if expect == 0 {
		return http.Header{"If-None-Match": {"*"}}
	}
	return http.Header{"If-Match": {strconv.Quote(strconv.FormatUint(expect, 10))}}
}

func changed(a *answer) error {
	switch {
	case a.status == http.StatusPreconditionFailed:
		return fmt.Errorf("%w: %w", consumer.ErrConflict, apiError(a))
	case a.status/100 != 2:
		return apiError(a)
	}
	return nil
}

func revisionOf(a *answer) (uint64, error) {
	revision, err := strconv.ParseUint(strings.Trim(a.header.Get("ETag"), `"`), 10, 64)
	if err != nil || revision == 0 {
		return 0, fmt.Errorf("ETag %q is no revision", a.header.Get("ETag"))
	}
	return revision, nil
}

// apiError reads an error of the server's own API.
func apiError(a *answer) *Error {
	var body struct {
		Error struct{ Code, Message, Hint string }
	}
	_ = json.Unmarshal(a.body, &body) // what is no JSON says nothing
	message := body.Error.Message
	if body.Error.Hint != "" {
		message += ": " + body.Error.Hint
	}
	return &Error{Status: a.status, Code: body.Error.Code, Message: message, Kind: kindOf("", a.status)}
}
