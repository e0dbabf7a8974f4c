package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// maxPicture bounds a picture, bytes.
const maxPicture = 16 << 20

// head is the line in front of each picture.
type head struct {
	Camera   string    `json:"camera"`
	Time     time.Time `json:"time"`     // when it was in front of the lens
	Fragment string    `json:"fragment"` // where it is in the archive; "" when not known
	Type     string    `json:"type"`     // "image/jpeg"
	Width    int       `json:"width"`
	Height   int       `json:"height"`
	Bytes    int       `json:"bytes"` // that follow the line
}

// read is the contract of a program: a line of JSON and a picture come in, a line
// of JSON goes out, and so on up to the end of the input. The next picture comes
// only after the answer: those that were filmed meanwhile are left out, so what
// comes is always new.
func (d *detector) read(in io.Reader, out io.Writer) error {
	pictures := bufio.NewReaderSize(in, 64<<10)
	answers := json.NewEncoder(out) // one line each
	for {
		line, err := pictures.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil // the server has no more
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		var h head
		if err := json.Unmarshal(line, &h); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if h.Type != "image/jpeg" || h.Bytes < 0 || h.Bytes > maxPicture {
			return fmt.Errorf("read: %d bytes of %q are no picture", h.Bytes, h.Type)
		}
		data := make([]byte, h.Bytes)
		if _, err := io.ReadFull(pictures, data); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		a, err := d.look(bytes.NewReader(data))
		if err != nil {
			return err
		}
		if err := answers.Encode(a); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

// serve is the contract of a service: each picture is a POST.
func (d *detector) serve(ctx context.Context, addr string, log io.Writer) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: d.handler(), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	fmt.Fprintf(log, "ready: looking for %s in what is sent to http://%s/\n", d.colour.name, l.Addr())
	select {
	case err = <-ended:
	case <-ctx.Done():
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = server.Shutdown(bye)
		<-ended
	}
	return err
}

// handler answers pictures, of several cameras at once.
func (d *detector) handler() http.Handler {
	// One picture at a time is looked at, as one model does; whoever comes
	// meanwhile is asked for a rest.
	busy := make(chan struct{}, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.Error(w, "POST a picture", http.StatusMethodNotAllowed)
			return
		}
		select {
		case busy <- struct{}{}:
			defer func() { <-busy }()
		case <-time.After(d.delay + time.Second):
			w.Header().Set("Retry-After", "1")
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		a, err := d.look(io.LimitReader(r.Body, maxPicture)) // of r.Header.Get("Kineweir-Camera")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if len(a.Detections) == 0 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(a) //nolint:errcheck // who asked has gone
	})
}
