// Package playback is what the ways of watching the archive have in common: how
// a span of time is written in a URL, and which fragments it selects.
//
// It owns [Range] and its parameters (start, end, time) and the rule that what
// is played begins where decoding can begin ([Select]). It never serves a
// protocol (its sub-packages make playlists and clips, package web/media has
// the routes), and it never reads a media byte.
package playback
