// Package media has the HTTP routes under which the archive is watched:
//
//	/hls/<stream>/live.m3u8 and what its playlists name    (playback/hls)
//	/hls/<stream>/index.m3u8?start=…&end=…
//	/dash/<stream>/manifest.mpd, live or ?start=…&end=…    (playback/dash)
//	/dash/time                                             the server's clock
//	/clip/<stream>.mp4?start=…&end=…                       (playback/clip)
//	/image/<stream>.jpg, .png: time=…, or start=…&end=…&interval=… (playback/image)
//	/image/<stream>.json?start=…&end=…&interval=…
//
// It owns their status codes, caching, compression and what a person reads when
// something cannot be played. Who may watch is asked of [Access]; what is
// played is made by the packages below; which web pages may read an answer is
// for package web to say.
package media
