package whip

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/web"
)

// Media types of RFC 9725.
const (
	typeSDP      = "application/sdp"
	typeFragment = "application/trickle-ice-sdpfrag"
)

// Limits of a body: how large, and how long it may take to come. Browsers offer
// some 10 kB, with every codec they know.
const (
	maxBody     = 64 << 10
	bodyTimeout = 10 * time.Second
)

// leftOut is the header that says what the client does not get, once for each.
const leftOut = "Kineweir-Left-Out"

// post answers an offer (RFC 9725 section 4.2).
func (h *Handler) post(w http.ResponseWriter, r *http.Request, p *protocol) error {
	s, answer, err := h.open(w, r, p)
	if err != nil {
		h.counted(p, func(st *Stats) { st.Refused++ })
		return err
	}
	header := w.Header()
	header.Set("Content-Type", typeSDP)
	header.Set("Cache-Control", "no-store")
	header.Set("Location", s.location(r))
	header.Set("ETag", s.etag)
	header.Set("Accept-Patch", typeFragment)
	for _, item := range s.leftOut {
		header.Add(leftOut, headerText(item))
	}
	h.linkServers(header)
	h.enter(s)
	h.o.Log.Info("webrtc session opened", s.attrs()...)
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer)
	return nil
}

// open makes the session and its answer. On success it holds a reserved place,
// which enter takes over.
func (h *Handler) open(w http.ResponseWriter, r *http.Request, p *protocol) (*session, string, error) {
	name, err := streamOf(r)
	if err != nil {
		return nil, "", err
	}
	if err := h.allow(r, p.action, name); err != nil {
		return nil, "", err
	}
	text, err := readBody(w, r, typeSDP)
	if err != nil {
		return nil, "", err
	}
	offer, err := readOffer(text, p)
	if err != nil {
		return nil, "", err
	}
	if err := h.reserve(); err != nil {
		return nil, "", err
	}
	who := h.who(r)
	conn, err := p.open(r.Context(), name, text, who)
	if err != nil {
		h.release()
		return nil, "", err
	}
	s := newSession(h, p, name, who, conn)
	s.offer, s.mid = withTracks(withoutCandidates(text)), offer.transport().mid
	answer, err := s.answer(r.Context(), offer)
	if err != nil {
		s.cancel()
		conn.Close(err)
		h.release()
		return nil, "", err
	}
	return s, answer, nil
}

// readBody reads a body of the given type.
func readBody(w http.ResponseWriter, r *http.Request, want string) (string, error) {
	if got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || got != want {
		if want == typeSDP {
			w.Header().Set("Accept-Post", want)
		} else {
			w.Header().Set("Accept-Patch", want) // RFC 5789 section 2.2
		}
		return "", &web.Error{Status: http.StatusUnsupportedMediaType, Code: "bad_type", Message: "the body is not of type " + want, Hint: "say so with Content-Type: " + want}
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	_ = control.SetReadDeadline(time.Time{})
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return "", &web.Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: fmt.Sprintf("the body is larger than %d KiB", maxBody>>10)}
	case err != nil:
		return "", &web.Error{Status: http.StatusBadRequest, Code: "bad_body", Message: "the body did not arrive whole", Err: err}
	}
	return string(body), nil
}

// answer runs the exchange: the offer in, the answer with this server's
// candidates out.
func (s *session) answer(ctx context.Context, offer *description) (string, error) {
	refused := func(what string, err error) error {
		return &web.Error{Status: http.StatusUnprocessableEntity, Code: "bad_offer", Message: what + ": " + err.Error(), Err: err}
	}
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: s.offer}); err != nil {
		return "", refused("the offer cannot be used", err)
	}
	text, err := s.makeAnswer(ctx)
	if err != nil {
		return "", refused("the offer cannot be answered", err)
	}
	if err := s.whole(offer, text); err != nil {
		return "", err
	}
	s.ufrag, s.pwd = offer.credentials()
	s.addCandidates(offer.candidates(s.mid))
	return finishAnswer(text, offer), nil
}

// makeAnswer answers the remote description that is set, and waits for the
// candidates of this side: none can be sent later (RFC 9725 section 4.3.2).
func (s *session) makeAnswer(ctx context.Context) (string, error) {
	gathered := webrtc.GatheringCompletePromise(s.pc)
	answer, err := s.pc.CreateAnswer(&webrtc.AnswerOptions{OfferAnswerOptions: webrtc.OfferAnswerOptions{ICETricklingSupported: true}})
	if err != nil {
		return "", err
	}
	if err := s.pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	timer := time.NewTimer(s.h.o.GatherTimeout)
	defer timer.Stop()
	select {
	case <-gathered:
	case <-timer.C: // with what there is: a server that does not answer must not cost the rest
		s.h.o.Log.Warn("some candidates did not come in time: a STUN or TURN server does not answer", s.attrs()...)
	case <-s.conn.Done():
		return "", fmt.Errorf("the connection has ended: %w", errors.Join(s.conn.Err()))
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-s.h.closing:
		return "", errStopping
	}
	local := s.pc.LocalDescription()
	if local == nil {
		return "", errors.New("the connection has ended")
	}
	ufrag, _ := credentialsOf(local.SDP)
	s.etag = `"` + ufrag + `"` // the ufrag names the ICE session, and is made anew for each
	return local.SDP, nil
}

func credentialsOf(sdp string) (ufrag, pwd string) {
	d, err := readDescription(sdp, false)
	if err != nil {
		return "", ""
	}
	return d.credentials()
}

// whole refuses a publisher of whom only a part would be taken (RFC 9725 section
// 4.4.3). A viewer gets what there is.
func (s *session) whole(offer *description, text string) error {
	if s.p.direction != "sendonly" {
		return nil
	}
	answer, err := readDescription(text, false)
	if err != nil {
		return err
	}
	for i, m := range offer.media {
		if i < len(answer.media) && answer.media[i].rejected && !m.rejected && (m.kind == "audio" || m.kind == "video") {
			return &web.Error{
				Status: http.StatusUnprocessableEntity, Code: "unknown_codec",
				Message: "none of the codecs offered for the " + m.kind + " is known here", Hint: "offer H.264 and Opus",
			}
		}
	}
	return nil
}

// location is the session's URL. A token that came in the URL goes on in it: a
// client that sent no header will send none later.
func (s *session) location(r *http.Request) string {
	path := "/" + s.p.name + "/" + url.PathEscape(string(s.stream)) + "/" + s.id
	if token := r.URL.Query().Get("token"); token != "" && r.Header.Get("Authorization") == "" {
		path += "?token=" + url.QueryEscape(token)
	}
	return path
}

// newID returns an id that cannot be guessed (RFC 9725 section 5).
func newID() string { return rand.Text() }

// options says what an endpoint takes. STUN and TURN servers are told only to
// whoever may use the endpoint, for TURN costs (RFC 9725 section 4.6).
func (h *Handler) options(w http.ResponseWriter, r *http.Request, p *protocol) error {
	name, err := streamOf(r)
	if err != nil {
		return err
	}
	w.Header().Set("Allow", "GET, HEAD, OPTIONS, POST")
	w.Header().Set("Accept-Post", typeSDP)
	w.Header().Set("Cache-Control", "no-store")
	if h.o.Access == nil || r.Header.Get("Authorization")+r.URL.RawQuery != "" && h.allow(r, p.action, name) == nil {
		h.linkServers(w.Header())
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// nothing answers a GET or HEAD of an endpoint: it is there, and there is
// nothing to see (RFC 9725 section 4.1). Players tell WHEP by the type.
func (h *Handler) nothing(w http.ResponseWriter, r *http.Request, p *protocol) error {
	if _, err := streamOf(r); err != nil {
		return err
	}
	w.Header().Set("Accept-Post", typeSDP)
	if p.name == "whep" {
		w.Header().Set("Content-Type", typeSDP)
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
	return nil
}
