package socket

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/datastream/journal"
	"github.com/kineweir/kineweir/web"
)

// hello sends the first message; the caller has the turn.
func (c *conn) hello() error {
	return c.sendCounted(websocket.TextMessage, helloMessage(c.name, c.place))
}

// follow starts to read the shards that can be read now; the caller has the
// turn.
func (c *conn) follow(ctx context.Context) error {
	if len(c.place.list) > maxShards {
		return asEnding(tooManyShards())
	}
	for _, st := range c.place.ready() {
		c.wg.Go(func() {
			if err := c.readShard(ctx, st); err != nil {
				c.cancel(err)
			}
		})
	}
	if len(c.place.list) == 0 {
		return errNoMore
	}
	return nil
}

// readShard sends the records of one shard until its end.
func (c *conn) readShard(ctx context.Context, st *station) error {
	cur := datastream.Cursor{Stream: c.stream.ID, Shard: st.shard, Next: st.next} // only this goroutine moves st.next
	if cur.Next == (journal.Position{}) {
		first, err := c.h.o.Engine.Seek(c.name, st.shard, datastream.Start{From: datastream.TrimHorizon})
		switch {
		case err != nil && !errors.Is(err, datastream.ErrNotFound):
			return err
		case err == nil && first.Stream == cur.Stream: // and not of one made anew by this name
			cur = first
		}
	}
	for {
		err := c.h.o.Engine.Wait(ctx, c.name, cur)
		end, before := false, cur
		if err == nil {
			cur, end, err = c.turnOf(ctx, st, cur)
		}
		if err == nil && !end && cur == before {
			err = datastream.ErrThrottled // woken for nothing: not at once again
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, datastream.ErrThrottled):
			if err := sleep(ctx, retryAfter); err != nil {
				return nil
			}
		case errors.Is(err, datastream.ErrNotFound), errors.Is(err, datastream.ErrExpired):
			return c.expired(ctx, st)
		case err != nil:
			return err
		case end:
			return nil
		}
	}
}

// turnOf waits for the turn and for room, and sends what there is of the shard.
func (c *conn) turnOf(ctx context.Context, st *station, cur datastream.Cursor) (next datastream.Cursor, end bool, err error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return cur, false, context.Cause(ctx)
	}
	defer func() { <-c.turn }()
	limit, err := c.window.wait(ctx)
	if err != nil {
		return cur, false, err
	}
	batch, err := c.h.o.Engine.Read(ctx, c.name, cur, limit, batchBytes)
	if err != nil {
		return cur, false, err
	}
	st.next = batch.Next.Next
	if len(batch.Records) > 0 {
		if err := c.sendBatch(st, &batch); err != nil {
			return cur, false, err
		}
	}
	if batch.End {
		return batch.Next, true, c.finish(ctx, st, batch.Children)
	}
	return batch.Next, false, nil
}

// sendBatch sends records; the caller has the turn.
func (c *conn) sendBatch(st *station, b *datastream.Batch) error {
	if c.ask.raw {
		for i := range b.Records {
			if err := c.sendCounted(websocket.BinaryMessage, b.Records[i].Data); err != nil {
				return err
			}
		}
	}
	c.buf = appendRecords(c.buf[:0], st.shard, b, c.ask.raw, c.place)
	c.window.spend(len(b.Records))
	err := c.sendCounted(websocket.TextMessage, c.buf)
	if cap(c.buf) > 4*batchBytes {
		c.buf = nil // one large record is no reason to keep its room
	}
	return err
}

// finish ends a shard of which all has been sent, and begins those that waited
// for it; the caller has the turn.
func (c *conn) finish(ctx context.Context, st *station, children []datastream.Shard) error {
	c.place.done(st)
	if !c.place.single {
		all, err := c.h.o.Engine.Shards(c.name, datastream.ShardFilter{After: datastream.NoShard})
		if err != nil {
			return err
		}
		c.place.discover(all)
	}
	if err := c.sendCounted(websocket.TextMessage, closedMessage(st.shard, children, c.place)); err != nil {
		return err
	}
	return c.follow(ctx)
}

// expired deals with a shard that is not there any more: all of it has expired,
// or the stream was deleted.
func (c *conn) expired(ctx context.Context, st *station) error {
	s, err := c.h.o.Engine.Stream(c.name)
	if err != nil || s.ID != c.stream.ID {
		return endingOf(&web.Error{Status: http.StatusNotFound, Code: "no_such_stream", Message: "the stream was deleted"})
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-c.turn }()
	return c.finish(ctx, st, nil)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
