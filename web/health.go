package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Check is one thing that must be up for the server to be healthy.
type Check struct {
	Name string // as an operator knows it: "rtsp 127.0.0.1:8554"
	// Up returns nil when it is up. What takes longer than two seconds counts as
	// down; a check that then still runs is not called again until it returns.
	Up func(ctx context.Context) error
}

const checkTimeout = 2 * time.Second

// health answers /healthz. What was found is kept for a moment, so that asking
// often costs nothing.
type health struct {
	checks []Check
	busy   []atomic.Bool // by check: a call is under way

	mu    sync.Mutex // guards the fields below; held while checks run
	found []finding
	at    time.Time
}

const keepFindings = 250 * time.Millisecond

func newHealth(checks []Check) *health {
	return &health{checks: checks, busy: make([]atomic.Bool, len(checks))}
}

type finding struct {
	name string
	err  error
}

// run asks all checks at once and returns what they say in order of name.
func (h *health) run(ctx context.Context) []finding {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.found != nil && time.Since(h.at) < keepFindings {
		return h.found
	}
	// The finding is shared, so one client's hanging up must not decide it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	found := make([]finding, len(h.checks))
	var wg sync.WaitGroup
	for i, c := range h.checks {
		wg.Go(func() { found[i] = finding{c.Name, h.ask(ctx, i)} })
	}
	wg.Wait()
	slices.SortFunc(found, func(a, b finding) int { return strings.Compare(a.name, b.name) })
	h.found, h.at = found, time.Now()
	return found
}

// ask asks check i, but does not wait beyond ctx for one that ignores it.
func (h *health) ask(ctx context.Context, i int) error {
	if !h.busy[i].CompareAndSwap(false, true) {
		return errors.New("an earlier check of it has not returned")
	}
	said := make(chan error, 1)
	go func() {
		defer h.busy[i].Store(false)
		said <- h.checks[i].Up(ctx)
	}()
	select {
	case err := <-said:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer within %s", checkTimeout)
	}
}

type healthBody struct {
	Status string            `json:"status"` // "ok" or "down"
	Up     []string          `json:"up"`
	Down   []string          `json:"down"`
	Errors map[string]string `json:"errors,omitempty"` // by name; told to this machine only
}

// ServeHTTP answers 200 when everything is up, else 503; the body names both.
// Why something is down may name inner addresses and is told on loopback only.
func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := healthBody{Status: "ok", Up: []string{}, Down: []string{}}
	status := http.StatusOK
	for _, f := range h.run(r.Context()) {
		if f.err == nil {
			body.Up = append(body.Up, f.name)
			continue
		}
		status, body.Status = http.StatusServiceUnavailable, "down"
		body.Down = append(body.Down, f.name)
		if fromLoopback(r) {
			if body.Errors == nil {
				body.Errors = map[string]string{}
			}
			body.Errors[f.name] = f.err.Error()
		}
	}
	WriteJSON(w, status, body)
}

func fromLoopback(r *http.Request) bool {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && a.Addr().Unmap().IsLoopback()
}
