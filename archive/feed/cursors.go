package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/fragments"
)

// Keys in the store:
//
//	feed/started            the feed was used before: JSON, version and time
//	feed/cursor/<stream>    cursorRecord, JSON
const (
	startedKey   = "feed/started"
	cursorPrefix = "feed/cursor/"
	// perTxn bounds the cursors that are saved at once.
	perTxn = 64
)

const cursorVersion = 1

// cursorRecord says up to which fragment a stream has been fed.
type cursorRecord struct {
	Version int              `json:"v"`
	Created int64            `json:"created_ms"` // of the stream: one made anew begins anew
	Number  fragments.Number `json:"number"`     // put last
}

// cursors are in memory and, as they were a moment ago, in the store: what they
// name has been put.
type cursors struct {
	meta journal.Meta

	saving sync.Mutex // held for as long as cursors are being saved; before mu

	mu    sync.Mutex // guards the fields below
	list  map[fragments.StreamName]*cursor
	dirty map[fragments.StreamName]bool
}

type cursor struct {
	cursorRecord
	revision uint64 // in the store; guarded by saving
	gone     bool   // the stream was deleted
}

// loadCursors reads the cursors. At the first use of the feed every stream begins
// with what comes from now on.
func loadCursors(ctx context.Context, meta journal.Meta, streams []archive.StreamInfo) (*cursors, error) {
	c := &cursors{meta: meta, list: map[fragments.StreamName]*cursor{}, dirty: map[fragments.StreamName]bool{}}
	for item := range meta.List(cursorPrefix) {
		var r cursorRecord
		if err := json.Unmarshal(item.Value, &r); err != nil || r.Version != cursorVersion {
			return nil, fmt.Errorf("cursor %s of version %d cannot be read: %w", item.Key, r.Version, err)
		}
		name := fragments.StreamName(strings.TrimPrefix(item.Key, cursorPrefix))
		c.list[name] = &cursor{cursorRecord: r, revision: item.Revision}
	}
	_, _, err := meta.Get(startedKey)
	if err == nil {
		c.forgetOthers(streams)
		return c, nil
	}
	if !errors.Is(err, journal.ErrAbsent) {
		return nil, fmt.Errorf("cursors: %w", err)
	}
	for _, s := range streams {
		n := belowFloor(s.Floor)
		if s.Last != nil {
			n = s.Last.Number
		}
		c.set(s.Name, s.Created, n)
	}
	if err := c.save(ctx); err != nil {
		return nil, err
	}
	value, err := json.Marshal(map[string]any{"v": cursorVersion, "at": time.Now().UTC()})
	if err == nil {
		_, err = meta.Put(ctx, startedKey, value, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("first use: %w", err)
	}
	return c, nil
}

// belowFloor is the last number that is deleted.
func belowFloor(floor fragments.Number) fragments.Number {
	if floor.Counter > 0 {
		floor.Counter--
	}
	return floor
}

// forgetOthers forgets the streams that are not there any more.
func (c *cursors) forgetOthers(streams []archive.StreamInfo) {
	there := map[fragments.StreamName]bool{}
	for _, s := range streams {
		there[s.Name] = true
	}
	for name := range c.list {
		if !there[name] {
			c.forget(name)
		}
	}
}

// get returns how far the stream has been fed; zero when it is new.
func (c *cursors) get(name fragments.StreamName, created time.Time) fragments.Number {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.list[name]; k != nil && !k.gone && k.Created == created.UnixMilli() {
		return k.Number
	}
	return fragments.Number{}
}

// set says that everything up to n has been put.
func (c *cursors) set(name fragments.StreamName, created time.Time, n fragments.Number) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.list[name]
	if k == nil {
		k = &cursor{}
		c.list[name] = k
	}
	k.cursorRecord, k.gone = cursorRecord{Version: cursorVersion, Created: created.UnixMilli(), Number: n}, false
	c.dirty[name] = true
}

// forget drops the cursor of a deleted stream.
func (c *cursors) forget(name fragments.StreamName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.list[name]; k != nil {
		k.gone = true
		c.dirty[name] = true
	}
}

// save brings what has changed to the store.
func (c *cursors) save(ctx context.Context) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	dirty := c.dirty
	c.dirty = map[fragments.StreamName]bool{}
	c.mu.Unlock()
	for len(dirty) > 0 {
		if err := c.saveSome(ctx, dirty); err != nil {
			c.mu.Lock()
			maps.Copy(c.dirty, dirty)
			c.mu.Unlock()
			return fmt.Errorf("cursors: %w", err)
		}
	}
	return nil
}

// saveSome saves up to perTxn of the dirty cursors and takes them out.
func (c *cursors) saveSome(ctx context.Context, dirty map[fragments.StreamName]bool) error {
	changes := c.changes(dirty)
	var revision uint64
	var err error
	if len(changes) > 0 {
		revision, err = c.meta.Txn(ctx, changes...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range changes {
		name := fragments.StreamName(strings.TrimPrefix(changes[i].Key, cursorPrefix))
		k := c.list[name]
		switch {
		case err != nil: // an earlier save may have come through after its context had ended
			if _, r, gerr := c.meta.Get(changes[i].Key); gerr == nil || errors.Is(gerr, journal.ErrAbsent) {
				k.revision = r
			}
			continue
		case !changes[i].Delete:
			k.revision = revision
		case k.gone:
			delete(c.list, name)
		default:
			k.revision = 0 // made anew meanwhile
		}
		delete(dirty, name)
	}
	return err
}

// changes words up to perTxn of the dirty cursors. Those that the store never
// held and need not hold are dropped.
func (c *cursors) changes(dirty map[fragments.StreamName]bool) []journal.Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	var changes []journal.Change
	for name := range dirty {
		k := c.list[name]
		if len(changes) == perTxn {
			break
		}
		if k == nil || k.gone && k.revision == 0 {
			delete(c.list, name)
			delete(dirty, name)
			continue
		}
		change := journal.Change{Key: cursorPrefix + string(name), Expect: k.revision, Delete: k.gone}
		if !k.gone {
			change.Value, _ = json.Marshal(k.cursorRecord) // of strings and numbers: never fails
		}
		changes = append(changes, change)
	}
	return changes
}
