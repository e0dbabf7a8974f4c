package archive

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
)

// Keys of the catalog:
//
//	stream/<name>                         streamRecord, JSON
//	track/<folder of the stream>/<hash>   a track configuration, as codec.go writes it
//	hour/<folder>/<hour, 10 digits>       hourSummary: the hour has its block in the bucket
//	gone/<folder>                         goneRecord, JSON: deleted, and its objects are being swept
const (
	recordPrefix = "stream/"
	trackPrefix  = "track/"
	hourPrefix   = "hour/"
	gonePrefix   = "gone/"
)

const recordVersion = 1

// streamRecord is what the catalog decides about a stream.
type streamRecord struct {
	Version int   `json:"v"`
	Created int64 `json:"created_ms"`
	// Epoch is that of the latest lease.
	Epoch uint64 `json:"epoch"`
	// Floor only rises: fragments below it are deleted.
	Floor fragments.Number `json:"floor"`
	// Ends is a block of the first kept and the last fragment of the closed
	// hours, so that nobody reads the bucket to show a list of streams.
	Ends []byte `json:"ends,omitempty"`
}

// goneRecord is what is left of a deleted stream until its objects are gone.
type goneRecord struct {
	Version int                  `json:"v"`
	Name    fragments.StreamName `json:"name"`
	Created int64                `json:"created_ms"`
}

func recordKey(name fragments.StreamName) string { return recordPrefix + string(name) }

func trackKey(dir string, h fragments.ConfigHash) string {
	return trackPrefix + dir + "/" + h.String()
}

func hourKey(dir string, h hour) string {
	return hourPrefix + dir + "/" + fmt.Sprintf("%010d", int64(h)-int64(minHour))
}

func parseHourKey(key string) (dir string, h hour, err error) {
	dir, digits, ok := strings.Cut(strings.TrimPrefix(key, hourPrefix), "/")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil {
		return "", 0, fmt.Errorf("catalog key %q is not of an hour", key)
	}
	return dir, hour(n) + minHour, nil
}

// bounds are the spans of a set of entries.
type bounds struct {
	count, bytes           int64
	min, max               fragments.Number
	producerStart          fragments.ProducerTimestamp
	producerEnd            fragments.ProducerTimestamp
	serverStart, serverEnd fragments.ServerTimestamp
}

// add widens b by e.
func (b *bounds) add(e *Entry) {
	server := e.serverEnd()
	if b.count == 0 {
		b.min, b.max = e.Number, e.Number
		b.producerStart, b.producerEnd = e.Producer, e.End()
		b.serverStart, b.serverEnd = e.Server, server
	}
	if e.Number.Less(b.min) {
		b.min = e.Number
	}
	if b.max.Less(e.Number) {
		b.max = e.Number
	}
	b.producerStart, b.producerEnd = min(b.producerStart, e.Producer), max(b.producerEnd, e.End())
	b.serverStart, b.serverEnd = min(b.serverStart, e.Server), max(b.serverEnd, server)
	b.count++
	b.bytes += e.Size
}

func boundsOf(entries []*Entry) bounds {
	var b bounds
	for _, e := range entries {
		b.add(e)
	}
	return b
}

// hourSummary is what the catalog keeps of a closed hour, so that its block is
// read only by those who need it.
type hourSummary struct {
	hour hour
	bounds
	// swept is the floor up to which the hour's objects have been deleted.
	swept fragments.Number
}

func (s *hourSummary) encode() []byte {
	b := []byte{recordVersion}
	for _, v := range [...]int64{s.count, s.bytes, int64(s.producerStart), int64(s.producerEnd), int64(s.serverStart), int64(s.serverEnd)} {
		b = binary.AppendVarint(b, v)
	}
	for _, n := range [...]fragments.Number{s.min, s.max, s.swept} {
		b = binary.AppendUvarint(binary.AppendUvarint(b, n.Epoch), n.Counter)
	}
	return b
}

func decodeSummary(h hour, value []byte) (hourSummary, error) {
	s := hourSummary{hour: h}
	d := decoder{b: value}
	if d.u8() != recordVersion {
		d.fail(errVersion)
	}
	s.count, s.bytes = d.varint(), d.varint()
	s.producerStart, s.producerEnd = fragments.ProducerTimestamp(d.varint()), fragments.ProducerTimestamp(d.varint())
	s.serverStart, s.serverEnd = fragments.ServerTimestamp(d.varint()), fragments.ServerTimestamp(d.varint())
	for _, n := range [...]*fragments.Number{&s.min, &s.max, &s.swept} {
		*n = fragments.Number{Epoch: d.uvarint(), Counter: d.uvarint()}
	}
	return s, d.done()
}

// catalogued is a stream's record as it stands in the catalog.
type catalogued struct {
	streamRecord
	revision uint64
}

// update changes the record of s by compare-and-set, together with further
// keys. Only one update of a stream is under way at a time. When it fails the
// record is as it was, or, when ctx ended meanwhile, as it may come to be.
func (s *stream) update(ctx context.Context, edit func(*streamRecord), more ...journal.Change) error {
	s.recordMu.Lock()
	defer s.recordMu.Unlock()
	for try := 0; ; try++ {
		next := s.record.streamRecord
		edit(&next)
		value, err := json.Marshal(next)
		if err != nil {
			return fmt.Errorf("catalog record: %w", err)
		}
		changes := append([]journal.Change{{Key: recordKey(s.name), Value: value, Expect: s.record.revision}}, more...)
		revision, err := s.a.meta.Txn(ctx, changes...)
		if err == nil {
			s.record = catalogued{next, revision}
			return nil
		}
		// An earlier update may have come through after its context had ended.
		if !errors.Is(err, journal.ErrConflict) || try > 2 || s.reload() != nil {
			return fmt.Errorf("catalog of stream %s: %w", s.name, err)
		}
	}
}

// reload reads the record again. The caller holds recordMu.
func (s *stream) reload() error {
	value, revision, err := s.a.meta.Get(recordKey(s.name))
	if err != nil {
		return err
	}
	var r streamRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return err
	}
	if r.Created != s.created.UnixMilli() {
		return errDeleted
	}
	s.record = catalogued{r, revision}
	return nil
}

// setKey sets a key of the catalog whatever it holds.
func (a *Archive) setKey(ctx context.Context, key string, value []byte) error {
	for {
		_, revision, err := a.meta.Get(key)
		if err != nil && !errors.Is(err, journal.ErrAbsent) {
			return err
		}
		if _, err = a.meta.Put(ctx, key, value, revision); !errors.Is(err, journal.ErrConflict) {
			return err
		}
	}
}

// dropKey removes a key of the catalog.
func (a *Archive) dropKey(ctx context.Context, key string) error {
	for {
		_, revision, err := a.meta.Get(key)
		if errors.Is(err, journal.ErrAbsent) {
			return nil
		}
		if err == nil {
			err = a.meta.Delete(ctx, key, revision)
		}
		if !errors.Is(err, journal.ErrConflict) {
			return err
		}
	}
}

// learnTrack makes the configuration known to the catalog.
func (s *stream) learnTrack(ctx context.Context, t trackRef) error {
	s.mu.RLock()
	known := s.tracks[t.hash] != nil
	s.mu.RUnlock()
	if known {
		return nil
	}
	if err := s.a.setKey(ctx, trackKey(s.dir, t.hash), appendTrack(nil, t.Track)); err != nil {
		return fmt.Errorf("catalog of stream %s: %w", s.name, err)
	}
	s.mu.Lock()
	s.tracks[t.hash] = t.Track
	s.mu.Unlock()
	return nil
}

// loadCatalog makes the streams that the catalog knows.
func (a *Archive) loadCatalog() error {
	dirs := map[string]*stream{}
	for item := range a.meta.List(recordPrefix) {
		var r streamRecord
		if err := json.Unmarshal(item.Value, &r); err != nil || r.Version != recordVersion {
			return fmt.Errorf("catalog record %s of version %d: %w", item.Key, r.Version, errors.Join(errVersion, err))
		}
		name, err := fragments.ParseStreamName(strings.TrimPrefix(item.Key, recordPrefix))
		if err != nil {
			return fmt.Errorf("catalog record %s: %w", item.Key, err)
		}
		s := newStream(a, name, timeOfMillis(r.Created))
		s.record = catalogued{r, item.Revision}
		s.floor = r.Floor
		a.streams[name], dirs[s.dir] = s, s
	}
	for item := range a.meta.List(trackPrefix) {
		dir, _, _ := strings.Cut(strings.TrimPrefix(item.Key, trackPrefix), "/")
		s := dirs[dir]
		if s == nil {
			continue
		}
		t, err := decodeTrack(item.Value)
		if err != nil {
			return fmt.Errorf("catalog track %s: %w", item.Key, err)
		}
		s.tracks[t.Hash()] = t
	}
	for item := range a.meta.List(hourPrefix) {
		dir, h, err := parseHourKey(item.Key)
		if err != nil {
			return err
		}
		s := dirs[dir]
		if s == nil {
			continue
		}
		sum, err := decodeSummary(h, item.Value)
		if err != nil {
			return fmt.Errorf("catalog hour %s: %w", item.Key, err)
		}
		s.closed = append(s.closed, sum)
	}
	for item := range a.meta.List(gonePrefix) {
		var g goneRecord
		if err := json.Unmarshal(item.Value, &g); err != nil || g.Version != recordVersion {
			return fmt.Errorf("catalog record %s of version %d: %w", item.Key, g.Version, errors.Join(errVersion, err))
		}
		a.gone[strings.TrimPrefix(item.Key, gonePrefix)] = g
	}
	for _, s := range dirs {
		if err := s.loadEnds(); err != nil {
			return err
		}
	}
	a.dirs = dirs
	return nil
}

// loadEnds takes first and last of the closed hours from the record.
func (s *stream) loadEnds() error {
	if len(s.record.Ends) == 0 {
		return nil
	}
	b, err := decodeBlock(s.record.Ends)
	if err != nil || len(b.entries) == 0 {
		return fmt.Errorf("catalog record of stream %s: ends: %w", s.name, errors.Join(errSense, err))
	}
	s.first, s.last = b.entries[0], b.entries[len(b.entries)-1]
	return nil
}
