package socket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/web"
)

// Errors of what a client sends.
var (
	errBinary   = &web.Error{Status: http.StatusBadRequest, Code: "bad_message", Message: "a binary message means nothing here", Hint: `send text: {"put":[{"key":"k","data":"<base64>"}]}`}
	errTooLarge = &web.Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: "the message is too large", Hint: "put up to 500 records and 10 MiB at once"}
	errNoPut    = &web.Error{Status: http.StatusForbidden, Code: "forbidden", Message: "this needs the right to publish the stream", Hint: "the right stands with the user in the credentials file"}
)

// message is what a client may send.
type message struct {
	Put    []putRecord     `json:"put"`
	ID     json.RawMessage `json:"id"`
	Credit *int64          `json:"credit"`
}

// putRecord is one record to put, with its data in one of three forms.
type putRecord struct {
	Key  string          `json:"key"`
	Hash string          `json:"hash"`
	Data []byte          `json:"data"`
	Text *string         `json:"text"`
	JSON json.RawMessage `json:"json"`
}

// parseMessage reads a message of a client. The id must be small: it is sent
// back.
func parseMessage(b []byte) (m message, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err = d.Decode(&m)
	switch {
	case err != nil:
		err = errors.New("it cannot be read: " + err.Error())
	case d.More():
		err = errors.New("it holds more than one JSON value")
	case (m.Put == nil) == (m.Credit == nil):
		err = errors.New("it must have either put or credit")
	case len(m.ID) > 256:
		err = errors.New("its id is longer than 256 bytes")
	case m.Credit != nil && (*m.Credit < 1 || *m.Credit > maxCredit):
		err = fmt.Errorf("credit must be from 1 to %d", int64(maxCredit))
	}
	if err != nil {
		return message{}, badRequest("bad_message", "the message is not understood: %s", `send {"put":[{"key":"k","text":"t"}]} or {"credit":100}`, err)
	}
	return m, nil
}

// obey does what a message asks for. An error ends the connection.
func (c *conn) obey(ctx context.Context, b []byte) error {
	m, err := parseMessage(b)
	if err != nil {
		return err
	}
	if m.Credit != nil {
		if !c.window.give(*m.Credit) {
			return badRequest("bad_message", "this connection has no limit to give credit for", "begin with credit= in the URL")
		}
		return nil
	}
	a := c.put(ctx, m.Put)
	a.ID = m.ID
	return c.send(websocket.TextMessage, encode(struct {
		Ack ack `json:"ack"`
	}{a}), c.h.o.Patience)
}

// ack answers a put.
type ack struct {
	ID      json.RawMessage `json:"id,omitempty"`
	Records []ackRecord     `json:"records,omitempty"`
	Error   *toldError      `json:"error,omitempty"`
}

type ackRecord struct {
	Shard    string     `json:"shard,omitempty"`
	Sequence string     `json:"sequence,omitempty"`
	Error    *toldError `json:"error,omitempty"`
}

// put puts records and waits until they are durable.
func (c *conn) put(ctx context.Context, records []putRecord) ack {
	if !c.mayPut.Load() {
		return ack{Error: tell(errNoPut)}
	}
	puts, err := c.puts(records)
	if err != nil {
		return ack{Error: tell(asWebError(err))}
	}
	results, err := c.h.o.Engine.Put(ctx, c.name, puts, datastream.PutOptions{Batch: len(puts) > 1})
	if err != nil {
		e := asWebError(err)
		if e.Status >= http.StatusInternalServerError {
			c.h.o.Log.Error("websocket put failed", "stream", c.name, "error", err)
		}
		return ack{Error: tell(e)}
	}
	a := ack{Records: make([]ackRecord, len(results))}
	for i, r := range results {
		if r.Err != nil {
			a.Records[i].Error = tell(asWebError(r.Err))
			continue
		}
		a.Records[i] = ackRecord{Shard: shardName(r.Shard), Sequence: r.Sequence.String()}
	}
	return a
}

// puts checks records as the service does and makes them what the engine takes.
func (c *conn) puts(records []putRecord) ([]datastream.Put, error) {
	if len(records) < 1 || len(records) > maxPuts {
		return nil, badRequest("bad_put", "%d records were sent", fmt.Sprintf("put from 1 to %d at once", maxPuts), len(records))
	}
	puts := make([]datastream.Put, len(records))
	total := 0
	for i, r := range records {
		p, err := r.put()
		if err != nil {
			return nil, badRequest("bad_put", "record %d: %s", `{"key":"k","text":"t"} is a good one`, i+1, err)
		}
		puts[i] = p
		total += len(p.PartitionKey) + len(p.Data)
	}
	if total > maxPutBytes {
		return nil, badRequest("bad_put", "the records have %d bytes", "put up to 10 MiB at once", total)
	}
	return puts, nil
}

// put checks one record. Whether it is too large, or may lack a key, is the
// stream's to say, but for what can never be.
func (r *putRecord) put() (p datastream.Put, err error) {
	forms := 0
	if r.Data != nil {
		forms++
		p.Data = r.Data
	}
	if r.Text != nil {
		forms++
		p.Data = []byte(*r.Text)
	}
	if r.JSON != nil {
		forms++
		p.Data = r.JSON
	}
	if forms != 1 {
		return p, errors.New("it must have one of data, text and json")
	}
	if utf8.RuneCountInString(r.Key) > 256 {
		return p, errors.New("its key has more than 256 characters")
	}
	if r.Hash != "" {
		h, err := datastream.ParseHashKey(r.Hash)
		if err != nil {
			return p, errors.New("its hash must be a number from 0 to 2^128-1")
		}
		p.ExplicitHash = &h
	}
	p.PartitionKey = r.Key
	return p, nil
}
