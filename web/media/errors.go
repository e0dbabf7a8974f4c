package media

import (
	"errors"
	"net/http"

	"github.com/kineweir/kineweir/archive"
	"github.com/kineweir/kineweir/playback"
	"github.com/kineweir/kineweir/playback/clip"
	"github.com/kineweir/kineweir/playback/dash"
	"github.com/kineweir/kineweir/playback/hls"
	"github.com/kineweir/kineweir/web"
)

// fail answers with what err stands for.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == nil { // else nobody is there to read it
		web.WriteError(w, answerOf(err))
	}
}

// answerOf is the table from the errors of playback to HTTP. Their texts are
// written for people. What is not in it is a failure of the server.
func answerOf(err error) error {
	var known *web.Error // of Access
	var param *playback.ParamError
	var playable *hls.NotPlayableError
	var manifest *dash.NotPlayableError
	var clipped *clip.NotPlayableError
	e := &web.Error{Message: err.Error()}
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &param):
		e.Status, e.Code, e.Message = http.StatusBadRequest, "bad_parameter", param.Error()
	case errors.As(err, &playable), errors.As(err, &manifest), errors.As(err, &clipped):
		e.Status, e.Code = http.StatusUnsupportedMediaType, "not_playable"
	case errors.Is(err, hls.ErrNotLive):
		e.Status, e.Code, e.RetryAfter = http.StatusServiceUnavailable, "not_live", 5
	case errors.Is(err, hls.ErrLate):
		e.Status, e.Code, e.RetryAfter = http.StatusServiceUnavailable, "nothing_comes", 1
	case errors.Is(err, hls.ErrOutside):
		e.Status, e.Code = http.StatusForbidden, "outside_range"
	case errors.Is(err, archive.ErrNoStream):
		e.Status, e.Code, e.Hint = http.StatusNotFound, "no_such_stream", "/api/streams lists the streams there are"
	case errors.Is(err, archive.ErrNoFragment):
		e.Status, e.Code = http.StatusNotFound, "no_such_fragment"
	case errors.Is(err, hls.ErrNothing), errors.Is(err, clip.ErrNothing):
		e.Status, e.Code = http.StatusNotFound, "nothing_recorded"
	case errors.Is(err, hls.ErrNoName), errors.Is(err, dash.ErrNoName):
		e.Status, e.Code = http.StatusNotFound, "no_such_file"
	default:
		return err
	}
	return e
}
