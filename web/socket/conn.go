package socket

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kineweir/kineweir/datastream"
	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// conn is one client. Its goroutines: the one of the request reads what the
// client sends; one pings, and at the end says why; one for each shard waits for
// records and, when it has the turn, sends them.
type conn struct {
	h        *Handler
	request  *http.Request // to ask for rights with
	readOnly bool          // whatever the rights
	mayPut   atomic.Bool
	name     string
	ask      ask
	stream   datastream.Stream // at the beginning
	ws       *websocket.Conn

	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // all goroutines but the one of the request

	turn   chan struct{} // its place is taken by who reads and sends; guards place and buf
	place  *place        // nil: nothing is read
	buf    []byte        // of a message
	window *window

	write sync.Mutex    // held for one write
	deaf  chan struct{} // closed when nothing of the client is read any more
}

// run serves the client until it, the server or ctx ends.
func (c *conn) run(ctx context.Context) {
	ctx, c.cancel = context.WithCancelCause(ctx)
	c.wg.Go(func() { c.keep(ctx) })
	c.turn <- struct{}{}
	err := c.hello()
	if err == nil && c.place != nil {
		err = c.follow(ctx)
	}
	<-c.turn
	if err != nil {
		c.cancel(err)
	}
	c.cancel(c.listen(ctx))
	close(c.deaf)
	c.wg.Wait()
}

func (c *conn) logEnd(cause error) {
	level := slog.LevelDebug
	end := asEnding(cause)
	switch {
	case end == errSlow || end == errStuck:
		level = slog.LevelInfo
	case end.told != nil && end.told.Status >= http.StatusInternalServerError:
		level = slog.LevelError
		cause = end.told
	}
	c.h.o.Log.Log(context.Background(), level, "websocket ended", "stream", c.name, "remote", c.request.RemoteAddr, "reason", cause.Error())
}

// askRights asks whether the client may do what it does. To put is asked for
// first: who only puts needs no right to view.
func (c *conn) askRights() error {
	name := fragments.StreamName(c.name)
	put := c.h.o.Access.Stream(c.request, ingest.Publish, name)
	c.mayPut.Store(put == nil && !c.readOnly)
	if c.ask.from == fromNone {
		return put
	}
	return c.h.o.Access.Stream(c.request, ingest.View, name)
}

// keep pings the client, asks for its rights again, and, when the connection
// ends, tells the client why.
func (c *conn) keep(ctx context.Context) {
	ping := time.NewTicker(c.h.pace.ping)
	defer ping.Stop()
	asked := time.NewTicker(c.h.pace.ask)
	defer asked.Stop()
	for {
		select {
		case <-ping.C:
			_ = c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(c.h.pace.ping))
		case <-asked.C:
			if err := c.askRights(); err != nil {
				c.cancel(asEnding(err))
			}
		case <-ctx.Done():
			cause := context.Cause(ctx)
			c.logEnd(cause)
			c.farewell(asEnding(cause))
			return
		}
	}
}

// farewell tells the client why it ends, and gives it time to answer: what it
// still sends is read and thrown away until then, because a connection closed
// with something unread is cut off, with all that the client has yet to read.
// Who is slow has as long again as it was waited for.
func (c *conn) farewell(end *ending) {
	defer c.ws.Close()
	if end == errGone || end == errStuck {
		return
	}
	bye := c.h.pace.bye
	if end.told != nil {
		_ = c.send(websocket.TextMessage, errorMessage(end.told), bye)
	}
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(end.code, end.reason), time.Now().Add(bye))
	short := time.NewTimer(bye)
	defer short.Stop()
	long := time.NewTimer(c.h.o.Patience)
	defer long.Stop()
	select {
	case <-c.deaf:
	case <-short.C:
		if end == errSlow {
			select {
			case <-c.deaf:
			case <-long.C:
			case <-c.h.ctx.Done():
			}
		}
	}
}

// send writes one message. A client that does not take it in time ends.
func (c *conn) send(kind int, message []byte, within time.Duration) error {
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.ws.SetWriteDeadline(time.Now().Add(within))
	err := c.ws.WriteMessage(kind, message)
	var timeout net.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &timeout) && timeout.Timeout():
		return errStuck
	}
	return errGone
}

// sendCounted writes a message that counts in the window.
func (c *conn) sendCounted(kind int, message []byte) error {
	content := c.window.sending(len(message))
	if err := c.send(kind, message, c.h.o.Patience); err != nil {
		return err
	}
	if kind == websocket.TextMessage { // binary ones have one behind them
		_ = c.ws.WriteControl(websocket.PingMessage, content, time.Now().Add(c.h.o.Patience))
	}
	return nil
}

// listen reads what the client sends until the connection ends.
func (c *conn) listen(ctx context.Context) error {
	alive := func() { _ = c.ws.SetReadDeadline(time.Now().Add(c.h.pace.gone)) }
	c.ws.SetReadLimit(maxMessage)
	c.ws.SetPongHandler(func(content string) error {
		alive()
		c.window.pong(content)
		return nil
	})
	for {
		alive()
		kind, r, err := c.ws.NextReader()
		if err != nil {
			return errGone
		}
		if ctx.Err() != nil {
			continue // the client is being told
		}
		if kind != websocket.TextMessage {
			c.cancel(endingOf(errBinary))
			continue
		}
		if err := c.take(ctx, r); err != nil {
			c.cancel(asEnding(err))
		}
	}
}

// take reads and obeys one message. Only a few large ones are in memory at
// once, whoever sends them.
func (c *conn) take(ctx context.Context, r io.Reader) error {
	message, err := io.ReadAll(io.LimitReader(r, freeMessage))
	if err != nil {
		return c.broken(err)
	}
	if len(message) == freeMessage {
		if !c.mayPut.Load() {
			return endingOf(errTooLarge)
		}
		select {
		case c.h.large <- struct{}{}:
			defer func() { <-c.h.large }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		rest, err := io.ReadAll(r)
		if err != nil {
			return c.broken(err)
		}
		message = append(message, rest...)
	}
	return c.obey(ctx, message)
}

// broken is a message that could not be read to its end.
func (c *conn) broken(err error) error {
	if errors.Is(err, websocket.ErrReadLimit) {
		return endingOf(errTooLarge)
	}
	return errGone
}
