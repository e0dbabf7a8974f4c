package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

// whepViewer watches over WebRTC. It reads packets and decodes nothing.
type whepViewer struct {
	b        *viewerBench
	t        *tally
	pc       *webrtc.PeerConnection
	resource string
	once     sync.Once
	first    chan struct{} // closed at the first packet of video
}

// benchAPI makes connections that do nothing but read.
var benchAPI = sync.OnceValues(func() (*webrtc.API, error) {
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	set := webrtc.SettingEngine{}
	set.SetIncludeLoopbackCandidate(true)
	set.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	return webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(set), webrtc.WithInterceptorRegistry(&interceptor.Registry{})), nil
})

func (v *whepViewer) join(ctx context.Context) error {
	api, err := benchAPI()
	if err != nil {
		return err
	}
	if v.pc, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		return err
	}
	v.first = make(chan struct{})
	v.pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { v.read(t) })
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		if _, err := v.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			return err
		}
	}
	offer, err := v.pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(v.pc)
	if err := v.pc.SetLocalDescription(offer); err != nil {
		return err
	}
	<-gathered
	if err := v.signal(ctx); err != nil {
		return err
	}
	select {
	case <-v.first:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no picture: connection is %s: %w", v.pc.ConnectionState(), ctx.Err())
	}
}

func (v *whepViewer) signal(ctx context.Context) error {
	res, err := v.b.do(ctx, http.MethodPost, "/whep/"+v.b.stream, "application/sdp", []byte(v.pc.LocalDescription().SDP))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusCreated {
		return fmt.Errorf("the offer is answered %s: %.200s", res.Status, answer)
	}
	where, err := res.Location()
	if err != nil {
		return errors.New("the answer has no Location")
	}
	v.resource = where.Path
	return v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)})
}

// read counts the packets of a track until that ends.
func (v *whepViewer) read(t *webrtc.TrackRemote) {
	video := t.Kind() == webrtc.RTPCodecTypeVideo
	buf := make([]byte, 1500)
	for {
		n, _, err := t.Read(buf)
		if err != nil {
			return
		}
		now := time.Now()
		sent, known := stampOf(buf[:n])
		v.t.got(n, now.Sub(sent), known && video)
		if video {
			v.once.Do(func() { close(v.first) })
		}
	}
}

func (v *whepViewer) watch(ctx context.Context) { <-ctx.Done() }

func (v *whepViewer) leave() {
	if v.resource != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if res, err := v.b.do(ctx, http.MethodDelete, v.resource, "", nil); err == nil {
			res.Body.Close()
		}
	}
	if v.pc != nil {
		_ = v.pc.Close()
	}
}
