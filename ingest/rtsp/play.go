package rtsp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"github.com/kineweir/kineweir/fragments"
	"github.com/kineweir/kineweir/fragments/live"
	"github.com/kineweir/kineweir/ingest"
)

const (
	// playQueue is how many packets the library holds for one player; what more
	// there is waits in the subscription.
	playQueue = 256
	// paramsWait is how long a player waits for a stream that has just begun to
	// tell its parameters.
	paramsWait = 3 * time.Second
	// udpBurst is how many packets go to a player over UDP before a pause of a
	// millisecond, so that the cached group does not overrun its socket.
	udpBurst = 16
)

// playing is a session that plays. Each has a stream of the library of its own,
// because each begins at the cached key frame.
type playing struct {
	s      *Server
	name   fragments.StreamName
	log    *slog.Logger
	stream *gortsplib.ServerStream
	tracks map[int]*packetizer // by track ID; later only those that were set up

	session *gortsplib.ServerSession
	udp     bool
	burst   int
	conn    *gortsplib.ServerConn
	cancel  context.CancelFunc // nil before PLAY
	done    sync.WaitGroup
}

// OnDescribe describes a live stream, and wakes it where it is on demand.
func (h *handler) OnDescribe(c *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	body, err := h.describe(c)
	res, err := h.answer(c.Conn, "playing", err)
	if err == nil && res.StatusCode == base.StatusOK {
		res.Body = body
	}
	return res, nil, err
}

func (h *handler) describe(c *gortsplib.ServerHandlerOnDescribeCtx) (body []byte, err error) {
	defer h.s.guard("DESCRIBE", &err)
	name, err := streamName(c.Path)
	if err != nil {
		return nil, err
	}
	if _, err := h.authorize(c.Conn, c.Request, ingest.View, name); err != nil {
		return nil, err
	}
	tracks, err := h.liveTracks(name)
	if err != nil {
		return nil, err
	}
	desc, _, err := describeTracks(tracks)
	if err != nil {
		return nil, refuse(base.StatusUnsupportedMediaType, err)
	}
	return desc.Marshal(false)
}

// liveTracks returns the tracks of a stream that is live or can be woken.
func (h *handler) liveTracks(name fragments.StreamName) ([]*fragments.Track, error) {
	if h.s.o.Hub == nil {
		return nil, refuse(base.StatusMethodNotAllowed, errors.New("this server plays no streams"))
	}
	ctx, cancel := context.WithTimeout(h.s.ctx, h.s.o.WakeTimeout)
	defer cancel()
	if h.s.o.Waker != nil {
		if err := h.s.o.Waker.Wake(ctx, name); err != nil {
			return nil, refuse(base.StatusNotFound, err)
		}
	}
	pub, err := h.s.o.Hub.Live(name)
	if err != nil {
		return nil, refuse(base.StatusNotFound, err)
	}
	deadline := time.Now().Add(paramsWait)
	for {
		tracks := pub.Tracks()
		if !slices.ContainsFunc(tracks, lacksParams) || time.Now().After(deadline) {
			slices.SortFunc(tracks, func(a, b *fragments.Track) int { return a.ID - b.ID })
			return tracks, nil
		}
		select {
		case <-h.s.ctx.Done():
			return nil, h.s.ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func lacksParams(t *fragments.Track) bool {
	switch t.Codec {
	case fragments.H264, fragments.H265, fragments.AAC:
		return len(t.Params) == 0
	}
	return false
}

// describeTracks makes a description of the tracks that RTP carries; the others
// are left out, and their names are the error when nothing remains.
func describeTracks(tracks []*fragments.Track) (*description.Session, map[int]*packetizer, error) {
	desc := &description.Session{}
	list := map[int]*packetizer{}
	var refused []error
	for _, t := range tracks {
		pz, err := newPacketizer(t, uint8(96+len(desc.Medias)))
		if err != nil {
			refused = append(refused, err)
			continue
		}
		// Numbers, for the cameras and players that want them so.
		pz.media.Control = fmt.Sprintf("trackID=%d", len(desc.Medias))
		desc.Medias = append(desc.Medias, pz.media)
		list[t.ID] = pz
	}
	if len(desc.Medias) == 0 {
		return nil, nil, fmt.Errorf("no track can be played: %w", errors.Join(refused...))
	}
	return desc, list, nil
}

// setupPlay prepares a player at its first SETUP.
func (h *handler) setupPlay(c *gortsplib.ServerHandlerOnSetupCtx) (stream *gortsplib.ServerStream, err error) {
	defer h.s.guard("SETUP", &err)
	if p, ok := c.Session.UserData().(*playing); ok {
		return p.stream, nil
	}
	name, err := streamName(c.Path)
	if err != nil {
		return nil, err
	}
	user, err := h.authorize(c.Conn, c.Request, ingest.View, name)
	if err != nil {
		return nil, err
	}
	tracks, err := h.liveTracks(name)
	if err != nil {
		return nil, err
	}
	desc, list, err := describeTracks(tracks)
	if err != nil {
		return nil, refuse(base.StatusUnsupportedMediaType, err)
	}
	p := &playing{
		s: h.s, name: name, log: h.remoteLog(c.Conn, name, user), tracks: list,
		stream: &gortsplib.ServerStream{Server: h.lib, Desc: desc},
	}
	if err := p.stream.Initialize(); err != nil {
		return nil, err
	}
	stats := p.stream.Stats()
	for _, pz := range list {
		pz.ssrc = stats.Medias[pz.media].Formats[pz.media.Formats[0]].LocalSSRC
	}
	c.Session.SetUserData(p)
	return p.stream, nil
}

// OnPlay starts to send. Nothing reaches the player before the answer does: the
// library holds the first packets until then.
func (h *handler) OnPlay(c *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return h.answer(c.Conn, "playing", h.play(c))
}

func (h *handler) play(c *gortsplib.ServerHandlerOnPlayCtx) (err error) {
	defer h.s.guard("PLAY", &err)
	p, ok := c.Session.UserData().(*playing)
	if !ok {
		return refuse(base.StatusBadRequest, errors.New("PLAY without SETUP"))
	}
	if p.cancel != nil {
		return nil // said twice
	}
	sub, err := h.s.o.Hub.Subscribe(p.name, live.SubscribeOptions{})
	if err != nil {
		return refuse(base.StatusNotFound, err)
	}
	setUp := c.Session.SetuppedMedias()
	for id, pz := range p.tracks {
		if !slices.Contains(setUp, pz.media) {
			delete(p.tracks, id)
		}
	}
	p.session, p.conn = c.Session, c.Conn
	p.udp = *c.Session.SetuppedTransport() == gortsplib.TransportUDP
	keep(c.Conn.NetConn(), true) // the library ends players that are gone
	ctx, cancel := context.WithCancel(h.s.ctx)
	p.cancel = cancel
	p.log.Info("playing started", "transport", c.Session.SetuppedTransport().String())
	p.done.Go(func() { p.run(ctx, sub) })
	return nil
}

// run sends access units until the stream or the player ends. A player that is
// too slow fills the subscription, which then skips to the next key frame.
func (p *playing) run(ctx context.Context, sub *live.Subscription) {
	defer p.session.Close()
	defer func() {
		if d := sub.Dropped(); d > 0 {
			p.log.Warn("player was too slow", "units_dropped", d)
		}
		sub.Close()
	}()
	var err error
	defer p.s.guard("playing", &err)
	for err == nil {
		var au *fragments.AccessUnit
		if au, err = sub.Next(ctx); err == nil {
			err = p.send(ctx, au)
		}
	}
	if !errors.Is(err, context.Canceled) {
		p.log.Debug("playing stops", "error", err)
	}
}

func (p *playing) send(ctx context.Context, au *fragments.AccessUnit) error {
	pz := p.tracks[au.Track.ID]
	if pz == nil {
		return nil
	}
	if int64(au.Track.TimeScale) != pz.scale {
		return errors.New("the stream has changed: it must be described again")
	}
	now := time.Now()
	first := pz.reported.IsZero()
	if pz.due(now, p.s.o.Reports) {
		// Before the packets, for players that want to know the time of the first.
		if err := p.report(ctx, pz, au, now); err != nil {
			return err
		}
	}
	pkts, err := pz.packetize(au)
	if err != nil {
		p.log.Debug("access unit not sent", "error", err)
		return nil
	}
	for _, pkt := range pkts {
		if p.burst++; p.udp && p.burst%udpBurst == 0 {
			time.Sleep(time.Millisecond)
		}
		if err := p.write(ctx, func() error { return p.session.WritePacketRTP(pz.media, pkt) }); err != nil {
			return err
		}
	}
	if first {
		return p.report(ctx, pz, au, now) // again, for those that know no source before its packets
	}
	return nil
}

func (p *playing) report(ctx context.Context, pz *packetizer, au *fragments.AccessUnit, now time.Time) error {
	return p.write(ctx, func() error { return p.session.WritePacketRTCP(pz.media, pz.report(au, now)) })
}

// write waits while the queue of the library is full.
func (p *playing) write(ctx context.Context, write func() error) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		err := write()
		if !errors.As(err, &liberrors.ErrServerWriteQueueFull{}) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// closed is called once, when the session has ended.
func (p *playing) closed(err error) {
	if p.cancel != nil {
		p.cancel()
		p.done.Wait()
		keep(p.conn.NetConn(), false)
		p.log.Info("playing ended", "reason", err)
	}
	p.stream.Close()
}
