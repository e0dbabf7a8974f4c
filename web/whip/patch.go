package whip

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/kineweir/kineweir/web"
)

// patch takes candidates, or restarts ICE (RFC 9725 section 4.3).
func (h *Handler) patch(w http.ResponseWriter, r *http.Request, p *protocol) error {
	s, err := h.find(r, p)
	if err != nil {
		return err
	}
	text, err := readBody(w, r, typeFragment)
	if err != nil {
		return err
	}
	f, err := readDescription(text, true)
	if err != nil {
		return &web.Error{Status: http.StatusBadRequest, Code: "bad_fragment", Message: "the body is no SDP fragment: " + err.Error(), Err: err}
	}
	match := r.Header.Values("If-Match")
	if len(match) == 0 { // RFC 6585 section 3
		return &web.Error{
			Status: http.StatusPreconditionRequired, Code: "no_etag", Message: "the request does not say which ICE session it is for",
			Hint: "send the ETag of the session as If-Match, or * to restart ICE",
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.gone(); err != nil {
		return err
	}
	any, matches := matchTag(match, s.etag)
	if !any && !matches {
		return &web.Error{
			Status: http.StatusPreconditionFailed, Code: "other_ice_session", Message: "the request is for another ICE session",
			Hint: "ICE was restarted meanwhile; restart it with If-Match: *",
		}
	}
	ufrag, pwd := f.credentials()
	if (ufrag == "" || ufrag == s.ufrag) && (pwd == "" || pwd == s.pwd) {
		s.addCandidates(f.candidates(s.mid))
		w.WriteHeader(http.StatusNoContent) // and no ETag
		return nil
	}
	if ufrag == "" || pwd == "" || ufrag == s.ufrag || pwd == s.pwd {
		return &web.Error{Status: http.StatusBadRequest, Code: "bad_fragment", Message: "an ICE restart needs a new ice-ufrag and a new ice-pwd"} // RFC 8445 section 9
	}
	answer, err := s.restart(r.Context(), ufrag, pwd, f)
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", typeFragment)
	header.Set("Cache-Control", "no-store")
	header.Set("ETag", s.etag)
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, answer)
	return nil
}

// gone says that a session has ended, and why; the caller holds s.mu.
func (s *session) gone() error {
	select {
	case <-s.over:
	default:
		return nil
	}
	e := &web.Error{Status: http.StatusGone, Code: "session_ended", Message: "the session has ended", Hint: s.report.Hint}
	if s.report.Error != "" {
		e.Message += ": " + s.report.Error
	}
	return e
}

// matchTag reads If-Match (RFC 9110 section 13.1.1): whether it is for any ICE
// session, and whether it names tag. Comparison is strong. RFC 9725 writes the
// star in quotes, as a tag, in its example, and clients follow that.
func matchTag(values []string, tag string) (any, matches bool) {
	for _, v := range values {
		for one := range strings.SplitSeq(v, ",") {
			switch one = strings.TrimSpace(one); one {
			case "*", `"*"`:
				any = true
			case tag:
				matches = true
			}
		}
	}
	return any, matches
}

// addCandidates hands the client's candidates on. Those that cannot be used here
// are dropped (RFC 9725 section 4.3.2), and so are those beyond the bound; both
// are remembered for the report. The caller holds s.mu, or has the session
// alone.
func (s *session) addCandidates(lines []string) {
	for _, line := range lines {
		c, bad := parseCandidate(line)
		if bad != "" || c.component != 1 || c.ufrag != "" && c.ufrag != s.ufrag || len(s.remote) >= s.h.o.MaxCandidates {
			continue // bundled RTP has no second component; what is of an older ICE session is late
		}
		s.remote = append(s.remote, c)
		if isName(c) {
			s.resolve(line, c)
			continue
		}
		if err := s.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: "candidate:" + line}); err != nil {
			s.h.o.Log.Debug("webrtc candidate dropped", s.attrs("candidate", c.String(), "error", err)...)
		}
	}
	s.h.counted(s.p, func(st *Stats) { st.Candidates += uint64(len(lines)) })
}

// Bounds of looking names up: a browser has one per interface and family, and
// multicast DNS answers at once or not at all.
const (
	maxNames       = 16
	resolveTimeout = 3 * time.Second
)

// resolve adds the candidate once its name has been looked up, if its ICE session
// is still the same. The caller holds s.mu, or has the session alone.
func (s *session) resolve(line string, c candidate) {
	if s.h.o.Resolve == nil || s.names >= maxNames {
		return
	}
	s.names++
	generation := s.generation
	s.h.wg.Go(func() { // the session has its place in wg still
		ctx, cancel := context.WithTimeout(s.ctx, resolveTimeout)
		defer cancel()
		a, err := s.h.o.Resolve(ctx, c.address)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil || s.generation != generation {
			s.h.o.Log.Debug("webrtc candidate has no address", s.attrs("candidate", c.String(), "error", err)...)
			return
		}
		if err := s.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: "candidate:" + strings.Replace(line, c.address, a.String(), 1)}); err != nil {
			s.h.o.Log.Debug("webrtc candidate dropped", s.attrs("candidate", c.String(), "address", a, "error", err)...)
		}
	})
}

// restart begins a new ICE session on the same connection, and returns what the
// client needs to know of this side. The caller holds s.mu.
func (s *session) restart(ctx context.Context, ufrag, pwd string, f *description) (string, error) {
	// From here on a client that hangs up must not leave half a restart behind.
	ctx = context.WithoutCancel(ctx)
	refused := func(err error) error {
		return &web.Error{Status: http.StatusUnprocessableEntity, Code: "no_restart", Message: "ICE cannot be restarted: " + err.Error(), Hint: "open a new session", Err: err}
	}
	offer := restartOffer(s.offer, ufrag, pwd, s.generation+1)
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", refused(err)
	}
	text, err := s.makeAnswer(ctx)
	if err != nil {
		return "", refused(err)
	}
	answer, err := answerFragment(text)
	if err != nil {
		return "", fmt.Errorf("answer an ICE restart: %w", err)
	}
	s.generation++
	s.ufrag, s.pwd, s.remote, s.names = ufrag, pwd, nil, 0
	s.addCandidates(f.candidates(s.mid))
	s.h.counted(s.p, func(st *Stats) { st.Restarts++ })
	s.h.o.Log.Info("webrtc session restarts ICE", s.attrs("restarts", s.generation)...)
	return answer, nil
}

// delete ends a session (RFC 9725 section 4.2). One that has ended is ended.
func (h *Handler) delete(w http.ResponseWriter, r *http.Request, p *protocol) error {
	s, err := h.find(r, p)
	if err != nil {
		return err
	}
	s.finish(errDeleted)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (h *Handler) sessionOptions(w http.ResponseWriter, r *http.Request, _ *protocol) error {
	if _, err := streamOf(r); err != nil {
		return err
	}
	w.Header().Set("Allow", "DELETE, GET, HEAD, OPTIONS, PATCH")
	w.Header().Set("Accept-Patch", typeFragment)
	w.WriteHeader(http.StatusOK)
	return nil
}

// get tells the report to who asks for JSON, and to everybody once the session
// has ended; to others there is nothing to tell (RFC 9725 section 4.1).
func (h *Handler) get(w http.ResponseWriter, r *http.Request, p *protocol) error {
	s, err := h.find(r, p)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.over:
		web.WriteJSON(w, http.StatusOK, s.report)
		return nil
	default:
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Vary", "Accept, Origin")
	if !strings.Contains(strings.Join(r.Header.Values("Accept"), ","), "json") {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	web.WriteJSON(w, http.StatusOK, s.describe(takeSample(s.pc)))
	return nil
}
