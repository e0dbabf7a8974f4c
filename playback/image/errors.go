package image

import (
	"errors"
	"fmt"
	"time"

	"github.com/kineweir/kineweir/fragments"
)

// ErrClosed is returned by a Maker after its Close.
var ErrClosed = errors.New("pictures are no longer made: the server is stopping")

// NoDecoderError says that ffmpeg cannot be run, and what to do about it.
type NoDecoderError struct {
	FFmpeg string // as configured
	Err    error
}

// Error names the package to install.
func (e *NoDecoderError) Error() string {
	return fmt.Sprintf("pictures need ffmpeg, which cannot be run (%v): install the package ffmpeg "+
		"(apt install ffmpeg, dnf install ffmpeg, brew install ffmpeg), or set images.ffmpeg to where it is", e.Err)
}

// Unwrap returns why.
func (e *NoDecoderError) Unwrap() error { return e.Err }

// BusyError says that as many pictures are being made, and wait to be, as may.
type BusyError struct {
	Queue int           // how many wait at most
	After time.Duration // when to ask again
}

// Error says when to ask again.
func (e *BusyError) Error() string {
	return fmt.Sprintf("%d pictures wait to be made already: ask again in %s, or raise images.workers", e.Queue, e.After)
}

// AsleepError says that a stream on demand did not go live, and nothing of it is
// recorded either.
type AsleepError struct {
	Stream fragments.StreamName
	Err    error
}

// Error says why.
func (e *AsleepError) Error() string {
	return fmt.Sprintf("stream %s is not live and could not be started: %v", e.Stream, e.Err)
}

// Unwrap returns why.
func (e *AsleepError) Unwrap() error { return e.Err }

// SlowError says that what is recorded could not be read in time.
type SlowError struct {
	Stream fragments.StreamName
	After  time.Duration
	Err    error
}

// Error says for how long it was tried.
func (e *SlowError) Error() string {
	return fmt.Sprintf("stream %s: the recording could not be read within %v: the bucket is slow or away", e.Stream, e.After)
}

// Unwrap returns what the archive said.
func (e *SlowError) Unwrap() error { return e.Err }

// NothingError says that nothing was recorded at an instant, and what is
// nearest to it.
type NothingError struct {
	Stream  fragments.StreamName
	Asked   time.Time // zero: the newest
	Nearest time.Time // on the clock that was asked by; zero: nothing is recorded at all
}

// Error returns the nearest time that has something.
func (e *NothingError) Error() string {
	switch {
	case e.Nearest.IsZero() && !e.Asked.IsZero():
		return fmt.Sprintf("stream %s: nothing is recorded at %s", e.Stream, e.Asked.Format(time.RFC3339Nano))
	case e.Nearest.IsZero():
		return fmt.Sprintf("stream %s: nothing is recorded yet", e.Stream)
	case e.Asked.IsZero():
		return fmt.Sprintf("stream %s: no picture yet", e.Stream)
	}
	return fmt.Sprintf("stream %s: nothing is recorded at %s; the nearest there is: %s", e.Stream,
		e.Asked.Format(time.RFC3339Nano), e.Nearest.Format(time.RFC3339Nano))
}

// NoVideoError says that a stream has no video, or not the track of it that was
// asked for.
type NoVideoError struct {
	Stream fragments.StreamName
	Video  int // the track; 0: any
}

// Error names the stream and the track.
func (e *NoVideoError) Error() string {
	if e.Video != 0 {
		return fmt.Sprintf("stream %s has no video track %d", e.Stream, e.Video)
	}
	return fmt.Sprintf("stream %s has no video", e.Stream)
}

// DecodeError says that there is something, and that no picture can be made of
// it.
type DecodeError struct {
	Stream fragments.StreamName
	Codec  fragments.Codec
	Reason string // why, for people; the last words of the decoder, if it said any
	// Timeout: the decoder was ended because it took too long.
	Timeout bool
	Err     error
}

// Error returns the codec and the reason.
func (e *DecodeError) Error() string {
	s := fmt.Sprintf("stream %s: no picture can be made", e.Stream)
	if e.Codec != "" {
		s += fmt.Sprintf(" of this %s video", e.Codec)
	}
	return s + ": " + e.Reason
}

// Unwrap returns the cause, if there is one.
func (e *DecodeError) Unwrap() error { return e.Err }

// InstantError is one instant of [Maker.Pictures] without a picture; the ones
// after it still come.
type InstantError struct {
	Time time.Time // the instant
	Err  error     // a *NothingError or a *DecodeError
}

// Error returns the instant and the reason.
func (e *InstantError) Error() string {
	return fmt.Sprintf("picture of %s: %v", e.Time.Format(time.RFC3339Nano), e.Err)
}

// Unwrap returns the reason.
func (e *InstantError) Unwrap() error { return e.Err }
