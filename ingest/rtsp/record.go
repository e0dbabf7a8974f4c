package rtsp

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/ingest"
)

// recording is a session that publishes: ANNOUNCE, SETUP for each track, RECORD.
type recording struct {
	s       *Server
	session *gortsplib.ServerSession
	name    fragments.StreamName
	src     ingest.Source
	log     *slog.Logger
	rx      *receiver
	conn    net.Conn // that said RECORD; nil before

	mu     sync.Mutex // guards the field below
	reason error      // why it was ended from here
}

// OnAnnounce checks who wants to publish what.
func (h *handler) OnAnnounce(c *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	return h.answer(c.Conn, "publishing", h.announce(c))
}

func (h *handler) announce(c *gortsplib.ServerHandlerOnAnnounceCtx) (err error) {
	defer h.s.guard("ANNOUNCE", &err)
	if h.s.o.Publish == nil {
		return refuse(base.StatusMethodNotAllowed, errors.New("this server takes no streams"))
	}
	name, err := streamName(c.Path)
	if err != nil {
		return err
	}
	user, err := h.authorize(c.Conn, c.Request, ingest.Publish, name)
	if err != nil {
		return err
	}
	rec := &recording{
		s: h.s, session: c.Session, name: name, log: h.remoteLog(c.Conn, name, user),
		src: ingest.Source{Protocol: "rtsp", Remote: c.Conn.NetConn().RemoteAddr().String(), User: user},
	}
	rec.rx, err = newReceiver(receiverOptions{
		Description: c.Description, Body: c.Request.Body, Log: rec.log, MaxSkew: h.s.o.MaxClockSkew,
		Open: func(tracks []*fragments.Track) (Session, error) {
			return h.s.o.Publish(name, tracks, rec.src, func(reason error) { rec.end(reason) })
		},
	})
	if err != nil {
		return refuse(base.StatusUnsupportedMediaType, err)
	}
	c.Session.SetUserData(rec)
	return nil
}

// OnRecord opens the session; from here on packets come.
func (h *handler) OnRecord(c *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	return h.answer(c.Conn, "publishing", h.record(c))
}

func (h *handler) record(c *gortsplib.ServerHandlerOnRecordCtx) (err error) {
	defer h.s.guard("RECORD", &err)
	rec, ok := c.Session.UserData().(*recording)
	if !ok {
		return refuse(base.StatusBadRequest, errors.New("RECORD without ANNOUNCE"))
	}
	if err := rec.rx.Start(); err != nil {
		return refuse(refusalOf(err), err)
	}
	for _, t := range rec.rx.tracks {
		c.Session.OnPacketRTP(t.media, t.format, t.onRTP)
		c.Session.OnPacketRTCP(t.media, t.onRTCP)
	}
	rec.conn = c.Conn.NetConn()
	keep(rec.conn, true) // over UDP ffmpeg says nothing more on it
	h.s.track(rec, true)
	rec.log.Debug("publishing started", "transport", c.Session.SetuppedTransport().String(), "tracks", trackNames(rec.rx.Tracks()))
	return nil
}

// end closes the session from this side.
func (rec *recording) end(reason error) {
	rec.mu.Lock()
	if rec.reason == nil {
		rec.reason = reason
	}
	rec.mu.Unlock()
	rec.session.Close()
}

// closed is called once, when no packet comes any more.
func (rec *recording) closed(err error) {
	rec.s.track(rec, false)
	rec.mu.Lock()
	if rec.reason != nil {
		err = rec.reason
	}
	rec.mu.Unlock()
	switch {
	case errors.As(err, &liberrors.ErrServerSessionTornDown{}):
		err = nil // the publisher said good-bye
	case errors.As(err, &liberrors.ErrServerSessionNotInUse{}):
		err = errGone
	}
	if rec.conn != nil {
		keep(rec.conn, false)
		rec.log.Debug("publishing ended", "reason", err)
	}
	rec.rx.Close(err)
}

var errGone = errors.New("the publisher closed the connection")

// trackNames shows tracks in the log.
func trackNames(tracks []*fragments.Track) []string {
	names := make([]string, len(tracks))
	for i, t := range tracks {
		names[i] = string(t.Codec)
		if t.Width > 0 {
			names[i] += fmt.Sprintf(" %dx%d", t.Width, t.Height)
		}
	}
	return names
}

// refusalOf is the status for a session that cannot be opened. Anything but the
// rules for publishers is our trouble, such as a full disk: ffmpeg calls 403 a
// lack of rights, and its user would look for those.
func refusalOf(err error) base.StatusCode {
	switch {
	case errors.Is(err, ingest.ErrBusy):
		return base.StatusForbidden
	case errors.Is(err, ingest.ErrTooMany):
		return base.StatusNotEnoughBandwidth
	}
	return base.StatusServiceUnavailable
}
