package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/kineweir/kineweir/web/sigv4"
)

func putCommand() command {
	return command{
		name:  "put",
		args:  "STREAM [DATA...|-]",
		short: "put records into a stream",
		long: "Puts records into a stream of a running server: each DATA, or each line of the\n" +
			"standard input where there is none, or \"-\". Prints the shard and the sequence\n" +
			"number of each once it is durable. Records that are too fast for their shard are\n" +
			"tried again.",
		examples: []string{
			`kineweir put detections '{"camera":"yard","label":"cat"}' --partition-key yard`,
			"kineweir put notes hello world --create",
			"tail -f app.log | kineweir put logs --quiet",
		},
		setup: func(fs *flag.FlagSet) action {
			r := declareRemote(fs)
			p := &putting{remote: r}
			fs.StringVar(&p.partitionKey, "partition-key", "", "put all into the shard of `KEY`\n(default: each record has a key of its own)")
			fs.BoolVar(&p.quiet, "quiet", false, "print nothing but mistakes")
			fs.BoolVar(&p.create, "create", false, "make the stream first if there is none, with one shard")
			return func(ctx context.Context, c console, args []string) error {
				if len(args) == 0 {
					return oneStream("put", args)
				}
				if err := r.check(c.env()); err != nil {
					return err
				}
				p.stream, p.out = args[0], c.out
				var in io.Reader = os.Stdin
				if data := args[1:]; len(data) > 0 && !(len(data) == 1 && data[0] == "-") {
					in = nil
					p.given = data
				}
				return p.run(ctx, in)
			}
		},
	}
}

// Bounds of one message of put, and of a line: those of the server.
const (
	putBatch      = 500
	putBatchBytes = 1 << 20 // of data; one record may be larger
	maxPutLine    = 10 << 20
	putAttempts   = 20
)

// putting is one run of put.
type putting struct {
	*remote
	stream, partitionKey string
	given                []string
	quiet, create        bool
	out                  io.Writer
}

// putItem is a record as the server takes it.
type putItem struct {
	Key  string  `json:"key"`
	Text *string `json:"text,omitempty"`
	Data []byte  `json:"data,omitempty"`
}

// run puts what was given, or the lines of in when that is not nil.
func (p *putting) run(ctx context.Context, in io.Reader) error {
	if p.create {
		if err := p.createStream(ctx); err != nil {
			return err
		}
	}
	ws, err := p.dial(ctx, p.stream, url.Values{"from": {"none"}})
	if err != nil {
		return err
	}
	defer ws.Close()
	defer context.AfterFunc(ctx, func() { ws.Close() })()
	l := newLine(ws)
	if _, err := l.next(); err != nil { // hello
		return err
	}
	items, source := make(chan putItem, putBatch), make(chan error, 1)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(items)
		source <- p.collect(ctx, in, items)
	}()
	done := 0
	for batch := p.batch(items); len(batch) > 0; batch = p.batch(items) {
		n, err := p.send(ctx, l, batch)
		if done += n; err != nil {
			if ctx.Err() != nil {
				err = errors.New("stopped")
			}
			return fmt.Errorf("%w (%d records were put before)", err, done)
		}
	}
	err = <-source
	_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	return err
}

// collect makes records of what was given or of the lines of in. It is left
// behind in a read of the standard input when the connection ends first: the
// process ends then.
func (p *putting) collect(ctx context.Context, in io.Reader, items chan<- putItem) error {
	hand := func(data []byte) bool {
		select {
		case items <- p.item(data):
			return true
		case <-ctx.Done():
			return false
		}
	}
	for _, g := range p.given {
		if !hand([]byte(g)) {
			return nil
		}
	}
	if in == nil {
		return nil
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxPutLine)
	for lines.Scan() {
		if !hand(lines.Bytes()) {
			return nil
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("a line is longer than %d MiB, which no record can be", maxPutLine>>20)
	}
	return lines.Err()
}

func (p *putting) item(data []byte) putItem {
	i := putItem{Key: p.partitionKey}
	if i.Key == "" {
		i.Key = rand.Text()
	}
	if utf8.Valid(data) {
		text := string(data)
		i.Text = &text
	} else {
		i.Data = bytes.Clone(data)
	}
	return i
}

// batch waits for a record and takes what else is there.
func (p *putting) batch(items <-chan putItem) (list []putItem) {
	size := 0
	for len(list) < putBatch && size < putBatchBytes {
		var i putItem
		var ok bool
		if len(list) == 0 {
			i, ok = <-items
		} else {
			select {
			case i, ok = <-items:
			default:
			}
		}
		if !ok {
			break
		}
		if i.Text != nil {
			size += len(*i.Text)
		}
		size += len(i.Data)
		list = append(list, i)
	}
	return list
}

// send puts a batch, and what of it was too fast again, and returns how many
// records are durable.
func (p *putting) send(ctx context.Context, l *line, batch []putItem) (done int, err error) {
	for attempt := 0; ; attempt++ {
		a, err := p.ask(l, batch)
		if err != nil {
			return done, err
		}
		var again []putItem
		var refused *told
		for i, r := range a.Records {
			switch {
			case r.Error == nil:
				done++
				if !p.quiet {
					fmt.Fprintf(p.out, "%s %s\n", r.Shard, r.Sequence)
				}
			case r.Error.Code == "too_fast" && attempt < putAttempts:
				again = append(again, batch[i])
			default:
				refused = r.Error
			}
		}
		switch {
		case refused != nil:
			return done, errors.New(refused.String())
		case len(again) == 0:
			return done, nil
		}
		batch = again
		select {
		case <-time.After(min(time.Second, 50*time.Millisecond<<min(attempt, 5))):
		case <-ctx.Done():
			return done, ctx.Err()
		}
	}
}

// ask sends a batch and waits for its answer.
func (p *putting) ask(l *line, batch []putItem) (*heardAck, error) {
	b, err := json.Marshal(map[string]any{"put": batch})
	if err != nil {
		return nil, err
	}
	if err := l.ws.WriteMessage(websocket.TextMessage, b); err != nil {
		return nil, l.ended(err)
	}
	m, err := l.next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the server ended the connection")
	case err != nil:
		return nil, fmt.Errorf("%w; the last %d records may have been put or not", err, len(batch))
	case m.Ack == nil:
		return nil, errors.New("the server answers something else than was asked")
	case m.Ack.Error != nil:
		return nil, errors.New(m.Ack.Error.String())
	case len(m.Ack.Records) != len(batch):
		return nil, fmt.Errorf("the server answers for %d records instead of %d", len(m.Ack.Records), len(batch))
	}
	return m.Ack, nil
}

// createStream makes the stream through the AWS API, signed when the key has an
// id, and waits until it is there.
func (p *putting) createStream(ctx context.Context) error {
	body, err := json.Marshal(map[string]any{"StreamName": p.stream, "ShardCount": 1})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(p.server, "/")+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "Kinesis_20131202.CreateStream")
	id, secret, signed := strings.Cut(p.key, ":")
	if signed {
		sigv4.Sign(r, body, id, secret, p.region, "kinesis", time.Now())
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return p.unreached(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		return p.awaitStream(ctx)
	}
	var refused struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	_ = json.Unmarshal(text, &refused)
	switch {
	case refused.Type == "ResourceInUseException":
		return p.awaitStream(ctx) // it is there, or being made
	case refused.Type == "MissingAuthenticationTokenException" && !signed:
		return errors.New("to make a stream the server needs a key with its id: give it as --key ID:SECRET")
	case strings.Contains(refused.Message, "scoped to a valid region"):
		return fmt.Errorf("the stream cannot be made: the server is in another region than %s; set %s to its aws.region", p.region, regionVariable)
	case refused.Type == "":
		answer.Body = io.NopCloser(bytes.NewReader(text)) // again
		return fmt.Errorf("the stream cannot be made: %w", p.refused(answer))
	}
	return fmt.Errorf("the stream cannot be made: %s (%s)", refused.Message, refused.Type)
}

// awaitStream waits until a new stream takes records: as long as the server says
// that there is none, which it does while the stream is being made.
func (p *putting) awaitStream(ctx context.Context) error {
	deadline := time.Now().Add(time.Minute)
	for {
		ws, err := p.dial(ctx, p.stream, url.Values{"from": {"none"}})
		if err == nil {
			return ws.Close()
		}
		var refused *remoteError
		if !errors.As(err, &refused) || refused.status != http.StatusNotFound || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
