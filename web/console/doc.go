// Package console is what a person sees: the page at / with the streams, a live
// player, and a time bar to play the past.
//
// It owns the files under static (plain ES modules and CSS, and hls.js as its
// makers built it) and the routes that hand them out. The page talks to the
// JSON API and to the media routes as any other client would; nothing is
// rendered here, nothing is loaded from elsewhere, and no state is kept.
package console
