package rtsp

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

const userAgent = "kineweir"

// parseURL reads an rtsp or rtsps URL. The error never shows it, because it may
// hold a password.
func parseURL(raw string) (*base.URL, error) {
	if !strings.HasPrefix(raw, "rtsp://") && !strings.HasPrefix(raw, "rtsps://") {
		return nil, errors.New("URL must begin with rtsp:// or rtsps://")
	}
	u, err := base.ParseURL(raw)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err
		}
		return nil, fmt.Errorf("URL is not valid: %w", err)
	}
	if u.Hostname() == "" {
		return nil, errors.New("URL names no host")
	}
	return u, nil
}
