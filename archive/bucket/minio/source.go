package minio

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// source reads one request's body. HTTP may go on reading a body after its request has returned; a source that
// was let go gives it nothing more, so that the caller's memory or file is its own again.
type source struct {
	mu     sync.Mutex
	body   *io.SectionReader // nil once let go
	failed error             // the first failure of the caller's body
}

func newSource(body io.ReaderAt, at, n int64) *source {
	return &source{body: io.NewSectionReader(body, at, n)}
}

var errLetGo = errors.New("request is over")

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.body == nil {
		return 0, errLetGo
	}
	n, err := s.body.Read(p)
	if err == io.EOF && s.left() > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF && s.failed == nil {
		s.failed = err
	}
	return n, err
}

func (s *source) left() int64 {
	at, err := s.body.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0
	}
	return s.body.Size() - at
}

// letGo waits for a read under way and allows no other.
func (s *source) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body = nil
}

// blame gives the failure of the caller's body in place of the error of the request it broke.
func (s *source) blame(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.failed != nil {
		return fmt.Errorf("%w: %w", errBody, s.failed)
	}
	return err
}
