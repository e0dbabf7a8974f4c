package detect

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// service is a detector that is asked over HTTP.
type service struct {
	url    string
	client *http.Client
}

// maxRest bounds the rest that a service may ask for.
const maxRest = 30 * time.Second

func newService(e External) *service {
	return &service{url: e.URL, client: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 1, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (s *service) detect(ctx context.Context, p *picture) ([]found, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(p.jpeg))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "image/jpeg")
	r.Header.Set("Kineweir-Camera", string(p.camera))
	r.Header.Set("Kineweir-Time", p.at.UTC().Format(time.RFC3339Nano))
	if !p.fragment.IsZero() {
		r.Header.Set("Kineweir-Fragment", p.fragment.String())
	}
	res, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case res.StatusCode == http.StatusNoContent:
		return nil, nil
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable:
		return nil, &restError{restOf(res.Header.Get("Retry-After"))}
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the service answers %s: %.200q", res.Status, body)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return parseAnswer(body)
}

// restOf reads Retry-After, seconds only: a service next door has no reason to
// write a date.
func restOf(v string) time.Duration {
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n == 0 {
		return time.Second
	}
	return min(time.Duration(n)*time.Second, maxRest)
}

func (s *service) close() { s.client.CloseIdleConnections() }
