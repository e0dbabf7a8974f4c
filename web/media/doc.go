// Package media has the HTTP routes under which the archive is watched:
//
//	/hls/<stream>/live.m3u8 and what its playlists name    (playback/hls)
//	/hls/<stream>/index.m3u8?start=…&end=…
//	/clip/<stream>.mp4?start=…&end=…                       (playback/clip)
//
// It owns status codes, headers, compression and what a person reads when
// something cannot be played. Who may watch is asked of [Access]; what is
// played is made by the packages below.
package media
