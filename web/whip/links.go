package whip

import (
	"net/http"
	"strings"
)

// linkServers adds a Link header for each STUN and TURN server that the client
// may use (RFC 9725 section 4.6).
func (h *Handler) linkServers(header http.Header) {
	if h.o.ICEServers == nil {
		return
	}
	for _, s := range h.o.ICEServers() {
		for _, u := range s.URLs {
			if strings.ContainsAny(u, "<>\r\n") {
				continue // no URL
			}
			link := "<" + u + `>; rel="ice-server"`
			if secret, ok := s.Credential.(string); ok && strings.HasPrefix(u, "turn") {
				link += `; username="` + quoted(s.Username) + `"; credential="` + quoted(secret) + `"; credential-type="password"`
			}
			header.Add("Link", link)
		}
	}
}

// quoted escapes s for a quoted string (RFC 9110 section 5.6.4).
func quoted(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(headerText(s))
}

// headerText makes s fit for a header: one line of what every client can show.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r == 0x7f:
			return ' '
		case r > '~':
			return '?'
		}
		return r
	}, s)
}
