package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtp"

	"github.com/kineweir/kineweir/fragments"
)

// publisherReports is how often a publisher sends sender reports.
const publisherReports = 5 * time.Second

// PublisherOptions say what a [Publisher] sends and where.
type PublisherOptions struct {
	URL       string             // rtsp:// or rtsps://, with user and password where needed
	Tracks    []*fragments.Track // with parameters where the codec has them
	Transport Transport          // UDP or, the default, TCP
	TLSConfig *tls.Config        // for rtsps; nil: the certificate must be valid
	Log       *slog.Logger       // default slog.Default()
}

// Publisher pushes a stream to an RTSP server, with sender reports that are exact:
// each is the capture time of an access unit beside its time stamp. It serves the
// demonstration and tests. Write and Close are called by one goroutine.
type Publisher struct {
	client *gortsplib.Client
	tracks map[int]*packetizer
	ended  chan struct{} // closed when the connection has ended, for whatever reason
	err    error         // why; read after ended
}

// NewPublisher connects and begins to record; the error is the server's answer or
// that of the connection. ctx bounds the connecting alone.
func NewPublisher(ctx context.Context, o PublisherOptions) (*Publisher, error) {
	u, err := parseURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	p := &Publisher{tracks: map[int]*packetizer{}, ended: make(chan struct{})}
	desc := &description.Session{}
	for i, t := range o.Tracks {
		pz, err := newPacketizer(t, uint8(96+i))
		if err != nil {
			return nil, fmt.Errorf("publish: %w", err)
		}
		p.tracks[t.ID] = pz
		desc.Medias = append(desc.Medias, pz.media)
	}
	transport := gortsplib.TransportTCP
	if o.Transport == UDP {
		transport = gortsplib.TransportUDP
	}
	p.client = &gortsplib.Client{
		Scheme: u.Scheme, Host: u.Host, Transport: &transport, TLSConfig: o.TLSConfig.Clone(),
		UserAgent: userAgent, DisableRTCPSenderReports: true,
		OnDecodeError:     func(err error) { o.Log.Debug("publisher received what it cannot read", "error", err) },
		OnPacketsLost:     func(uint64) {},
		OnTransportSwitch: func(error) {},
	}
	if err := p.connect(ctx, u, desc); err != nil {
		return nil, fmt.Errorf("publish to %s: %w", u.Host, err)
	}
	return p, nil
}

func (p *Publisher) connect(ctx context.Context, u *base.URL, desc *description.Session) error {
	if err := p.client.Start2(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, p.client.Close)
	err := p.record(u, desc)
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		p.client.Close()
		return err
	}
	go func() {
		p.err = p.client.Wait()
		close(p.ended)
	}()
	stats := p.client.Stats()
	for _, pz := range p.tracks {
		pz.ssrc = stats.Session.Medias[pz.media].Formats[pz.media.Formats[0]].LocalSSRC
	}
	return nil
}

func (p *Publisher) record(u *base.URL, desc *description.Session) error {
	if _, err := p.client.Announce(u, desc); err != nil {
		return err
	}
	if err := p.client.SetupAll(u, desc.Medias); err != nil {
		return err
	}
	_, err := p.client.Record()
	return err
}

// Write sends an access unit of one of the tracks. It waits while the connection
// is slow. After an error the publisher is to be closed.
func (p *Publisher) Write(au *fragments.AccessUnit) error {
	pz := p.tracks[au.Track.ID]
	if pz == nil {
		return fmt.Errorf("publish: no track %d", au.Track.ID)
	}
	now := time.Now()
	first := pz.reported.IsZero()
	if pz.due(now, publisherReports) {
		// Before the packets, for receivers that want to know the time of the first.
		if err := p.report(pz, au, now); err != nil {
			return err
		}
	}
	pkts, err := pz.packetize(au)
	if err != nil {
		return err
	}
	for _, pkt := range pkts {
		if err := p.packet(pz, pkt); err != nil {
			return err
		}
	}
	if first {
		return p.report(pz, au, now) // again, for those that know no source before its packets
	}
	return nil
}

func (p *Publisher) report(pz *packetizer, au *fragments.AccessUnit, now time.Time) error {
	return retryFull(func() error { return p.client.WritePacketRTCP(pz.media, pz.report(au, now)) })
}

func (p *Publisher) packet(pz *packetizer, pkt *rtp.Packet) error {
	return retryFull(func() error { return p.client.WritePacketRTP(pz.media, pkt) })
}

// retryFull repeats what fails because the library's queue is full. The library
// gives a connection up that takes nothing for ten seconds.
func retryFull(write func() error) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		err := write()
		if !errors.As(err, &liberrors.ErrClientWriteQueueFull{}) {
			return err
		}
		time.Sleep(pause)
	}
}

// Close sends what is queued, for at most two seconds, and ends the recording.
func (p *Publisher) Close() error {
	for deadline := time.Now().Add(2 * time.Second); !p.sent() && time.Now().Before(deadline); {
		select {
		case <-p.ended:
			deadline = time.Time{}
		case <-time.After(time.Millisecond):
		}
	}
	p.client.Close()
	<-p.ended
	if !errors.As(p.err, &liberrors.ErrClientTerminated{}) {
		return fmt.Errorf("publish: %w", p.err)
	}
	return nil
}

// sent reports whether all packets have left the queue of the library.
func (p *Publisher) sent() bool {
	var want uint64
	for _, pz := range p.tracks {
		want += uint64(pz.packets)
	}
	return p.client.Stats().Session.RTPPacketsSent >= want
}
