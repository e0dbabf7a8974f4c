package kinesisapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// direct calls the handler without a network, for tests whose clock is false.
func (r *rig) direct(op, body string) answer {
	r.t.Helper()
	req := httptest.NewRequest("POST", "/", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", Target+"."+op)
	req.Header.Set("X-Amz-Date", "20261123T000000Z")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/20261123/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=b")
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, req)
	a := answer{status: w.Code, raw: w.Body.String()}
	if w.Body.Len() > 0 {
		must(r.t, json.Unmarshal(w.Body.Bytes(), &a.body))
		a.code, _ = a.body["__type"].(string)
		a.text, _ = a.body["message"].(string)
	}
	return a
}

// timeless is a rig without a server, in a bubble of testing/synctest.
func timeless(t *testing.T, run func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		s := &setup{fs: vfs.NewMemory(), api: Options{Account: account}}
		r := &rig{t: t}
		r.open(s)
		t.Cleanup(func() { must(t, r.engine.Close(context.Background())) })
		run(t, r)
	})
}

// TestIteratorLife: an iterator is good for 300 seconds, as often as one likes.
func TestIteratorLife(t *testing.T) {
	timeless(t, func(t *testing.T, r *rig) {
		r.direct("CreateStream", `{"StreamName":"s","ShardCount":1}`)
		r.direct("PutRecord", `{"StreamName":"s","PartitionKey":"a","Data":"eA=="}`)
		it := r.direct("GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"TRIM_HORIZON"}`).body["ShardIterator"].(string)
		made := time.Now().UTC()
		for range 3 {
			time.Sleep(100 * time.Second)
			a := r.direct("GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, it))
			if a.status != 200 || len(a.body["Records"].([]any)) != 1 || a.body["NextShardIterator"] == it {
				t.Fatalf("after %v: %s", time.Since(made), a.raw)
			}
		}
		time.Sleep(time.Millisecond)
		const form = "Mon Jan 02 15:04:05 UTC 2006"
		a := r.direct("GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, it))
		equal(t, "code", a.code, codeExpiredIterator)
		equal(t, "text", a.text, "Iterator expired. The iterator was created at time "+made.Format(form)+" while right now it is "+
			made.Add(300*time.Second).Format(form)+" which is further in the future than the tolerated delay of 300000 milliseconds.")
	})
}

// TestPageTokenLife: page tokens are good for 300 seconds.
func TestPageTokenLife(t *testing.T) {
	timeless(t, func(t *testing.T, r *rig) {
		r.direct("CreateStream", `{"StreamName":"s","ShardCount":2}`)
		r.direct("CreateStream", `{"StreamName":"t","ShardCount":1}`)
		for _, c := range []string{"a", "b"} {
			r.direct("RegisterStreamConsumer", fmt.Sprintf(`{"StreamARN":%q,"ConsumerName":%q}`, arnOf("s"), c))
		}
		first := map[string]string{
			"ListShards": `{"StreamName":"s","MaxResults":1}`, "ListStreams": `{"Limit":1}`,
			"ListStreamConsumers": `{"StreamARN":"` + arnOf("s") + `","MaxResults":1}`,
		}
		next := map[string]string{}
		for op, body := range first {
			next[op] = r.direct(op, body).body["NextToken"].(string)
		}
		ask := func(op string) answer {
			body := fmt.Sprintf(`{"NextToken":%q}`, next[op])
			if op == "ListStreamConsumers" {
				body = fmt.Sprintf(`{"NextToken":%q,"StreamARN":%q}`, next[op], arnOf("s"))
			}
			return r.direct(op, body)
		}
		time.Sleep(tokenLife)
		for op := range first {
			equal(t, op, ask(op).status, 200)
		}
		time.Sleep(time.Millisecond)
		for op := range first {
			equal(t, op, ask(op).code, codeExpiredNextToken)
		}
	})
}

// TestIteratorForms: quote marks are taken, changed tokens and those of another
// kind or key are not.
func TestIteratorForms(t *testing.T) {
	r := newRig(t)
	r.made("s", 1)
	r.put("s", "x", "0")
	it := r.iterator("s", 0, "TRIM_HORIZON")
	if raw, err := base64.StdEncoding.DecodeString(it); err != nil || string(raw[:8]) != "\x00\x00\x00\x00\x00\x00\x00\x01" {
		t.Errorf("iterator %q, %v", it, err)
	}
	for _, n := range []int{1, 20, 85, 86, 101, 102, 128} {
		name := strings.Repeat("n", n)
		r.made(name, 1)
		r.put(name, name, "0")
		it := r.iterator(name, 0, "TRIM_HORIZON")
		if raw, err := base64.StdEncoding.DecodeString(it); err != nil || len(raw) < 152 || (len(raw)-152)%16 != 0 || len(it) > 512 {
			t.Errorf("iterator of a name of %d has %d bytes, %v", n, len(raw), err)
		}
		equal(t, "read", r.read(it), name)
	}
	equal(t, "quoted", r.read(`"`+it+`"`), "x")
	other := newRig(t)
	other.made("s", 1)
	changed := []byte(it)
	changed[40] ^= 1
	for name, token := range map[string]string{
		"changed": string(changed), "cut": it[:len(it)-4], "of another server": other.iterator("s", 0, "LATEST"),
		"of a list": r.h.pageToken(tokenShards, page{Stream: strings.Repeat("x", 60)}), "one quote mark": `"`, "empty base64": "AAAA",
	} {
		body, err := json.Marshal(map[string]string{"ShardIterator": token})
		must(t, err)
		a := r.try("GetRecords", string(body))
		equal(t, name, a.code+": "+a.text, codeInvalid+": Invalid ShardIterator.")
	}
}

// TestPageKinds: a list does not go on with another list's token.
func TestPageKinds(t *testing.T) {
	r := newRig(t)
	r.made("s", 2)
	r.made("t", 1)
	for op, token := range map[string]string{
		"ListShards":  r.do("ListStreams", `{"Limit":1}`)["NextToken"].(string),
		"ListStreams": r.do("ListShards", `{"StreamName":"s","MaxResults":1}`)["NextToken"].(string),
	} {
		a := r.try(op, fmt.Sprintf(`{"NextToken":%q}`, token))
		equal(t, op, a.code+": "+a.text, codeInvalid+": Invalid NextToken.")
	}
}

// TestIteratorLength: the service's clients take 512 characters.
func TestIteratorLength(t *testing.T) {
	r := newRig(t)
	c := datastream.Cursor{Stream: 1<<64 - 1, Shard: 1<<32 - 1, Next: journal.Position{Frame: 1<<64 - 1, Index: 1<<16 - 1}}
	name := strings.Repeat("n", 128)
	token := r.h.iterator(name, c)
	if len(token) > 512 {
		t.Errorf("%d characters", len(token))
	}
	stream, back, err := r.h.parseIterator(token)
	must(t, err)
	equal(t, "stream", stream, name)
	equal(t, "cursor", back, c)
}

// TestTokensOutliveRestart: what was given before a restart is good after it,
// and so are the account's settings.
func TestTokensOutliveRestart(t *testing.T) {
	fs := vfs.NewMemory()
	var it, token string
	t.Run("before", func(t *testing.T) {
		r := newRig(t, func(s *setup) { s.fs = fs })
		r.made("s", 2)
		r.put("s", "x", "0")
		it = r.iterator("s", 0, "TRIM_HORIZON")
		token = r.do("ListShards", `{"StreamName":"s","MaxResults":1}`)["NextToken"].(string)
		r.do("UpdateAccountSettings", `{"MinimumThroughputBillingCommitment":{"Status":"ENABLED"}}`)
	})
	t.Run("after", func(t *testing.T) {
		r := newRig(t, func(s *setup) { s.fs = fs })
		equal(t, "data", r.read(it), "x")
		equal(t, "shard", dig(t, r.do("ListShards", fmt.Sprintf(`{"NextToken":%q}`, token)), "Shards", 0, "ShardId"), any(shardName(1)))
		equal(t, "status", dig(t, r.do("DescribeAccountSettings", `{}`), "MinimumThroughputBillingCommitment", "Status"), any(commitmentOn))
	})
}

// TestDeletedStream: an iterator and a page token of a stream that was deleted,
// even if there is a new one of that name, are of a stream that does not exist.
func TestDeletedStream(t *testing.T) {
	r := newRig(t)
	r.made("s", 2)
	it := r.iterator("s", 1, "LATEST")
	token := r.do("ListShards", `{"StreamName":"s","MaxResults":1}`)["NextToken"].(string)
	r.do("DeleteStream", `{"StreamName":"s"}`)
	for range 2 {
		a := r.try("GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, it))
		equal(t, "read", a.code+": "+a.text, codeNotFound+": Shard shardId-000000000001 in stream s under account "+account+" does not exist")
		a = r.try("ListShards", fmt.Sprintf(`{"NextToken":%q}`, token))
		equal(t, "list", a.code+": "+a.text, codeNotFound+": Stream s under account "+account+" not found.")
		if a := r.try("DescribeStream", `{"StreamName":"s"}`); a.code == codeNotFound {
			r.made("s", 2)
		}
	}
}

// FuzzTokens opens whatever callers may send.
func FuzzTokens(f *testing.F) {
	s, err := openSealer(context.Background(), nil)
	must(f, err)
	h := &Handler{seal: s}
	f.Add("")
	f.Add(`"`)
	f.Add(h.iterator("s", datastream.Cursor{Stream: 1}))
	f.Add(h.pageToken(tokenShards, page{Stream: "s"}))
	f.Add(s.seal([]byte{tokenIterator}))
	f.Add(s.seal([]byte{tokenShards, '{'}))
	f.Fuzz(func(t *testing.T, token string) {
		if stream, _, err := h.parseIterator(token); err == nil && stream != "s" {
			t.Errorf("forged iterator of %q", stream)
		}
		for _, kind := range []byte{tokenShards, tokenStreams, tokenConsumers} {
			if p, err := h.parsePage(kind, token); err == nil && p.Stream != "s" {
				t.Errorf("forged page of %q", p.Stream)
			}
		}
	})
}
