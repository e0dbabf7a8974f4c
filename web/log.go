package web

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// logRequest writes one line: what failed here at error, what was refused or
// changed at info, everything that went as it should at debug (a viewer asks
// for several parts a second).
func logRequest(log *slog.Logger, r *http.Request, a *answer, kind Kind, took time.Duration) {
	level := slog.LevelDebug
	switch {
	case a.status >= 500 && kind != Probe:
		level = slog.LevelError
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden || a.status == http.StatusTooManyRequests:
		level = slog.LevelInfo
	case kind == Call && a.status < 400:
	case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions:
		level = slog.LevelInfo
	}
	if !log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", r.Method), slog.String("path", safePath(r.URL)), slog.Int("status", a.status),
		slog.Int64("bytes", a.bytes), slog.Duration("took", took.Round(time.Microsecond)), slog.String("remote", r.RemoteAddr),
	}
	if a.err != nil {
		attrs = append(attrs, slog.String("error", a.err.Error()))
	}
	log.LogAttrs(r.Context(), level, "http request", attrs...)
}

// shown are the query parameters whose values may stand in the log. All others
// (tokens, signatures, whatever is sent here by mistake) are named only.
var shown = map[string]bool{"start": true, "end": true, "time": true, "stream": true}

// safePath returns the path and query of u without secrets.
func safePath(u *url.URL) string {
	path := u.EscapedPath()
	if len(path) > 512 {
		path = path[:512] + "..."
	}
	if u.RawQuery == "" {
		return path
	}
	var b strings.Builder
	b.WriteString(path)
	sep := byte('?')
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		if b.Len() > 1024 {
			b.WriteString("&...")
			break
		}
		key, value, has := strings.Cut(pair, "=")
		b.WriteByte(sep)
		sep = '&'
		if len(key) > 64 {
			key = key[:64] + "..."
		}
		b.WriteString(key)
		if !has {
			continue
		}
		b.WriteByte('=')
		if shown[key] && len(value) <= 64 {
			b.WriteString(value)
		} else {
			b.WriteString("...")
		}
	}
	return b.String()
}
