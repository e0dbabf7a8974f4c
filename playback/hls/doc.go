// Package hls makes HTTP Live Streaming (RFC 8216, fragmented MP4) of the
// archive: live with a rewind window, and any range of the past.
//
// It owns the names under /hls/<stream>/ ([Request]), the playlists and the
// bytes of their segments. One segment is the run of one track of one fragment
// as the archive keeps it, with the origin of its object added to its decode
// times, so that a time line runs on across objects. Video and every audio
// track have playlists of their own, and all playlists of a stream have the
// same rows: row n is the same fragment, with the same media sequence and the
// same discontinuity number, in each. A row whose track was silent is filled
// with coded silence where the codec can be written, or marked EXT-X-GAP.
//
// Decode times of video are served late by the reorder delay, with negative
// composition offsets: a segment is decoded from the moment its first picture is
// shown, which is where players put it. Audio behind a hole, as before most
// discontinuities, begins with silence that fills it.
//
// With a live.Hub, live playlists are low-latency ones (RFC 8216bis): they go on
// with what is in memory, the fragments that the archive does not show yet and
// the parts of the one that is open, and neither a slow disk nor a bucket that is
// away holds them up. Players that know nothing of parts play the same playlist.
// Parts are stretches of the segment they end up in; G.711 is converted part by
// part.
//
// What a browser cannot play as fragmented MP4 is left out of the playlists,
// and the playlist says so; nothing is transcoded but G.711 and linear PCM,
// which play as FLAC.
//
// The package serves no HTTP (package web/media does), knows no rights, and
// keeps no state but bounded caches that can be lost at any time.
package hls
