package socket

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/web"
)

// beginning is the kind of place where a client wants to begin.
type beginning uint8

const (
	fromLatest beginning = iota
	fromHorizon
	fromTime
	fromSequence
	fromToken
	fromNone
)

// ask is what the query of a request asks for.
type ask struct {
	from   beginning
	start  datastream.Start // of fromLatest to fromSequence
	shard  uint32           // NoShard: all
	token  token            // of fromToken
	raw    bool
	credit int64 // records; -1: no limit
}

// maxCredit keeps sums of credit from overflowing.
const maxCredit = 1 << 40

func badRequest(code, message, hint string, args ...any) error {
	return &web.Error{Status: http.StatusBadRequest, Code: code, Message: fmt.Sprintf(message, args...), Hint: hint}
}

// checkName checks the name of a stream: 1 to 128 of A-Z a-z 0-9 _ . -, the
// rule of the service.
func checkName(name string) error {
	bad := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_.-", r))
	}
	if name == "" || len(name) > 128 || strings.ContainsFunc(name, bad) {
		return badRequest("bad_name", "a stream has a name of 1 to 128 of the characters A-Z a-z 0-9 _ . -", "")
	}
	return nil
}

// parseAsk reads the query.
func parseAsk(q url.Values) (a ask, err error) {
	a = ask{shard: datastream.NoShard, credit: -1, start: datastream.Start{From: datastream.Latest}}
	known := []string{"from", "shard", "resume", "format", "credit", "token"}
	for name, values := range q {
		if !slices.Contains(known, name) {
			return a, badRequest("bad_parameter", "there is no parameter %.64q", "known are "+strings.Join(known, ", "), name)
		}
		if len(values) > 1 {
			return a, badRequest("bad_parameter", "parameter %q is given twice", "", name)
		}
	}
	switch f := q.Get("format"); f {
	case "", "json":
	case "raw":
		a.raw = true
	default:
		return a, badRequest("bad_format", "there is no format %.64q", "use json or raw", f)
	}
	if s := q.Get("credit"); s != "" {
		if a.credit, err = strconv.ParseInt(s, 10, 64); err != nil || a.credit < 0 || a.credit > maxCredit {
			return a, badRequest("bad_credit", "credit must be a number of records", "leave it out for no limit")
		}
	}
	if s := q.Get("resume"); s != "" {
		if q.Has("from") || q.Has("shard") {
			return a, badRequest("bad_parameter", "resume says where to go on", "leave out from and shard")
		}
		a.from = fromToken
		a.token, err = parseToken(s)
		if err != nil {
			return a, badRequest("bad_resume", "this is not a resume token of this server", "give it as it came in a message")
		}
		return a, nil
	}
	if s := q.Get("shard"); s != "" {
		if a.shard, err = parseShard(s); err != nil {
			return a, badRequest("bad_shard", "there can be no shard %.64q", "use a name such as shardId-000000000003, or its number", s)
		}
	}
	return a, a.readFrom(q.Get("from"))
}

// readFrom reads where to begin.
func (a *ask) readFrom(s string) error {
	number, after := strings.CutPrefix(s, "after:")
	switch {
	case s == "" || strings.EqualFold(s, "latest"):
		return nil
	case strings.EqualFold(s, "trim_horizon"):
		a.from, a.start.From = fromHorizon, datastream.TrimHorizon
		return nil
	case s == "none":
		a.from = fromNone
		return nil
	case len(number) >= 20 || after: // later than any time in ms
		n, err := datastream.ParseSequenceNumber(number)
		if err == nil && a.shard != datastream.NoShard && a.shard != n.Shard {
			return badRequest("bad_from", "this sequence number is one of shard %s", "leave out shard", shardName(n.Shard))
		}
		if err == nil {
			a.from, a.shard = fromSequence, n.Shard
			a.start = datastream.Start{From: datastream.AtSequence, Sequence: number}
			if after {
				a.start.From = datastream.AfterSequence
			}
			return nil
		}
	}
	if t, err := parseTime(s); err == nil {
		a.from, a.start = fromTime, datastream.Start{From: datastream.AtTimestamp, Time: t}
		return nil
	}
	return badRequest("bad_from", "from=%.64q is no place to begin", "use latest, trim_horizon, none, a time such as 2026-11-23T06:00:00Z or in unix ms, or a sequence number", s)
}

func parseTime(s string) (time.Time, error) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		if ms < 0 || ms > 1<<53 {
			return time.Time{}, errors.New("out of range")
		}
		return time.UnixMilli(ms).UTC(), nil
	}
	return time.Parse(time.RFC3339Nano, s)
}

func parseShard(s string) (uint32, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "shardId-"), 10, 32)
	if err == nil && uint32(n) == datastream.NoShard {
		err = errors.New("out of range")
	}
	return uint32(n), err
}

func shardName(index uint32) string { return fmt.Sprintf("shardId-%012d", index) }
