package web

import "net/http"

// pagePolicy lets a page use what we serve and nothing else. Media comes
// through Media Source Extensions, which need blob: as the source of a video.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; " +
	"media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// restPolicy is for answers that are no pages: should a browser take one for a
// page, it can do nothing.
const restPolicy = "default-src 'none'; frame-ancestors 'none'; sandbox"

func (o *origins) securityHeaders(h http.Header, kind Kind) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer") // tokens stand in URLs
	resource := "same-origin"
	switch kind {
	case Page:
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(self), geolocation=()")
	case Media:
		// A sandbox would keep a browser from showing a clip opened by its URL.
		if !o.open {
			resource = "cross-origin"
		}
	default:
		h.Set("Content-Security-Policy", restPolicy)
	}
	h.Set("Cross-Origin-Resource-Policy", resource)
}
