package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func tailCommand() command {
	return command{
		name:  "tail",
		args:  "STREAM",
		short: "print the records of a stream as they arrive",
		long: "Prints the records of a stream of a running server, from now on or from where\n" +
			"--from says, until it is told to stop (Ctrl-C). When the connection is lost it\n" +
			"goes on where it was: no record is missed, none is printed twice.",
		examples: []string{
			"kineweir tail detections",
			"kineweir tail detections --from trim_horizon --json | jq .json.label",
			"kineweir tail detections --from 2026-11-23T06:00:00Z --limit 100",
			"KINEWEIR_KEY=... kineweir tail detections --server https://nvr.example:8080",
		},
		setup: func(fs *flag.FlagSet) action {
			r := declareRemote(fs)
			t := &tailing{remote: r, wait: retryWait}
			fs.StringVar(&t.from, "from", "", "begin at `PLACE`: latest, trim_horizon, a time (RFC 3339 or\nunix ms), a sequence number, or after:NUMBER (default latest)")
			fs.StringVar(&t.shard, "shard", "", "print one `SHARD` alone, until it ends")
			fs.BoolVar(&t.json, "json", false, "print each record as one JSON object a line")
			fs.BoolVar(&t.raw, "raw", false, "print the data alone, a line each")
			fs.IntVar(&t.limit, "limit", 0, "stop after `N` records")
			return func(ctx context.Context, c console, args []string) error {
				if len(args) != 1 {
					return oneStream("tail", args)
				}
				switch {
				case t.json && t.raw:
					return &usageError{what: "--json and --raw exclude each other", hint: "give one of them"}
				case t.limit < 0:
					return &usageError{what: "--limit must be more than 0"}
				}
				if err := r.check(c.env()); err != nil {
					return err
				}
				t.stream, t.out, t.notes = args[0], bufio.NewWriterSize(c.out, 64<<10), c.err
				return t.run(ctx)
			}
		},
	}
}

// oneStream refuses anything but one name of a stream.
func oneStream(command string, args []string) error {
	if len(args) == 0 {
		return &usageError{what: command + " needs the name of a stream", hint: fmt.Sprintf(`see "kineweir %s --help"`, command)}
	}
	return noArguments(command, args[1:])
}

// tailing is one run of tail.
type tailing struct {
	*remote
	stream, from, shard string
	json, raw           bool
	limit               int // 0: none
	out                 *bufio.Writer
	notes               io.Writer
	wait                func(failures int) time.Duration

	resume  string
	printed int
}

// retryWait is how long to wait after failures in a row.
func retryWait(failures int) time.Duration {
	return min(10*time.Second, 250*time.Millisecond<<min(failures, 6))
}

// errLimit ends a session that has printed enough.
var errLimit = errors.New("enough records")

// run prints until there is no more, enough has come, or ctx ends.
func (t *tailing) run(ctx context.Context) error {
	for failures := 0; ; {
		before := t.resume
		err := t.session(ctx)
		var lost *remoteError
		switch {
		case ctx.Err() != nil, errors.Is(err, io.EOF), errors.Is(err, errLimit):
			return nil
		case !errors.As(err, &lost), !lost.retry, t.resume == "":
			return err // what has never worked is not tried for ever
		case t.resume != before:
			failures = 0
		}
		wait := t.wait(failures)
		failures++
		fmt.Fprintf(t.notes, "kineweir: %v; trying again in %v\n", err, wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// session prints over one connection.
func (t *tailing) session(ctx context.Context) error {
	ws, err := t.dial(ctx, t.stream, t.query())
	if err != nil {
		return err
	}
	defer ws.Close()
	defer context.AfterFunc(ctx, func() { ws.Close() })()
	l := newLine(ws)
	for {
		m, err := l.next()
		if err != nil {
			return err
		}
		if err := t.print(m, l.binary); err != nil {
			return err
		}
		if m.Resume != "" {
			t.resume = m.Resume // what it stands for has been printed
		}
	}
}

func (t *tailing) query() url.Values {
	q := url.Values{}
	if t.raw {
		q.Set("format", "raw")
	}
	if t.resume != "" {
		q.Set("resume", t.resume)
		return q
	}
	if t.from != "" {
		q.Set("from", t.from)
	}
	if t.shard != "" {
		q.Set("shard", t.shard)
	}
	return q
}

// print prints the records of a message.
func (t *tailing) print(m *heard, binary [][]byte) error {
	if t.raw && len(binary) != len(m.Records) {
		return fmt.Errorf("the server sent %d records and described %d", len(binary), len(m.Records))
	}
	for i := range m.Records {
		switch {
		case t.raw:
			t.printRaw(binary[i])
		case t.json:
			if err := json.NewEncoder(t.out).Encode(&m.Records[i]); err != nil {
				return err
			}
		default:
			t.printLine(&m.Records[i])
		}
		if t.printed++; t.printed == t.limit {
			if err := t.out.Flush(); err != nil {
				return err
			}
			return errLimit
		}
	}
	return t.out.Flush()
}

// printRaw prints data, and ends its line. Errors are those of Flush.
func (t *tailing) printRaw(data []byte) {
	t.out.Write(data)
	if !bytes.HasSuffix(data, []byte("\n")) {
		t.out.WriteByte('\n')
	}
}

// printLine prints a record for people.
func (t *tailing) printLine(r *heardRecord) {
	shard := strings.TrimLeft(strings.TrimPrefix(r.Shard, "shardId-"), "0")
	if shard == "" {
		shard = "0"
	}
	fmt.Fprintf(t.out, "%s  %s  %s  %s\n", r.Arrived, shard, visible(r.Key), r.show())
}

// show is the data of a record on one line.
func (r *heardRecord) show() string {
	switch {
	case r.JSON != nil:
		var b bytes.Buffer
		if json.Compact(&b, r.JSON) == nil {
			return b.String()
		}
	case r.Text != nil:
		return visible(strings.TrimRight(*r.Text, "\r\n"))
	case r.Data != nil:
		return "base64:" + base64.StdEncoding.EncodeToString(*r.Data)
	}
	return ""
}

// visible keeps what a record holds from writing several lines, or to the
// terminal.
func visible(s string) string {
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}
